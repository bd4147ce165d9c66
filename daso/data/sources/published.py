"""What the makers of the data sets published: addresses, file names, checksums (MD5), as torchvision has them.

Written down here because importing torchvision takes longer than reading CIFAR-10; a test compares the two.
"""

from daso.data.sources.archive import Archive
from daso.data.sources.loose import LooseFiles

CIFAR10 = Archive(
    files={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    classes=10,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    name="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    octets=170_498_071,
    folder="cifar-10-batches-py",
)
CIFAR100 = Archive(
    files={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    classes=100,
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    name="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    octets=169_001_437,
    folder="cifar-100-python",
)
STL10 = Archive(
    files={
        "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "5a34089d4802c674881badbb80307741",
        "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",
        "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
        "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
    },
    classes=10,
    unlabeled=("unlabeled_X.bin",),
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    name="stl10_binary.tar.gz",
    md5="91f7769df0f17e558f3565bffb0c7dfb",
    octets=2_640_397_119,
    folder="stl10_binary",
)
FASHION_MNIST = LooseFiles(
    files={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    classes=10,
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    packed={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    octets=30_878_645,
    folder="FashionMNIST/raw",
    package="install Debian's package dataset-fashion-mnist and set dataset.root=/usr/share/datasets/fashion-mnist",
)
