"""How many images of each class the unlabeled set is assumed to hold, where a method needs to know. Nothing heavy."""

from daso.schema import LONG_TAILED, UNKNOWN, Config

SHIPPED: dict[tuple[str, int, int | str, float, float | str], tuple[float, ...]] = {
    # data set, n1, m1, gamma_l, gamma_u: the estimates that come with the reference's code
    ("cifar10", 1500, 3000, 100, 0.01): (929.7, 516.5, 155.4, 283.1, 336.4, 263.7, 486.8, 1142.6, 1464.6, 1845.0),
    ("cifar10", 1500, 3000, 100, 1): (
        *(3599.9, 3641.8, 2984.0, 1536.2, 1816.2),
        *(6728.7, 2401.2, 1948.9, 3278.4, 2016.6),
    ),
    ("cifar10", 500, 4000, 100, 0.01): (1338.5, 2018.6, 496.9, 352.7, 415.3, 447.8, 949.2, 1318.8, 634.2, 1884.0),
    ("cifar10", 500, 4000, 100, 1): (
        *(1920.6, 5610.8, 5990.6, 5159.4, 3305.0),
        *(3350.1, 2958.7, 4801.1, 4255.1, 2584.5),
    ),
    ("stl10", 150, UNKNOWN, 10, UNKNOWN): (
        *(143.6, 2299.1, 19646.4, 15610.3, 5090.1),
        *(5916.8, 11513.6, 8755.0, 25157.3, 5828.1),
    ),
    ("stl10", 150, UNKNOWN, 20, UNKNOWN): (
        *(10587.1, 14102.5, 13010.7, 2352.1, 10677.3),
        *(3145.3, 20233.3, 11216.7, 9458.7, 5175.3),
    ),
    ("stl10", 450, UNKNOWN, 10, UNKNOWN): (
        *(12199.3, 11018.0, 12578.7, 9889.0, 8830.8),
        *(14322.2, 10652.3, 6454.9, 9394.9, 4618.7),
    ),
    ("stl10", 450, UNKNOWN, 20, UNKNOWN): (
        *(9850.5, 16701.2, 10500.4, 3772.8, 3024.3),
        *(17131.2, 14513.3, 9055.5, 7387.4, 8022.4),
    ),
}


def shipped(config: Config) -> tuple[float, ...] | None:
    """The reference's estimate for the setting of `config`, if it has one."""
    imb = config.imb
    if imb.unlabeled_shape != LONG_TAILED or imb.unlabeled_counts:
        return None
    return SHIPPED.get((config.dataset.name, imb.n1, imb.m1, imb.gamma_l, imb.gamma_u))
