"""The same fixtures as the plugin's own tests."""

from tests.plugins.pipecat_csm.conftest import device, pair

__all__ = ["device", "pair"]
