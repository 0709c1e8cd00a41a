"""Voice activity detection for Pipecat with the WebRTC VAD, alone or confirmed by Silero."""

from pipecat_webrtcvad.analyzer import WebRTCVADAnalyzer
from pipecat_webrtcvad.hybrid import HybridVADAnalyzer

__all__ = ["HybridVADAnalyzer", "WebRTCVADAnalyzer"]
