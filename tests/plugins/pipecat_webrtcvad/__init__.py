"""Tests of the WebRTC and hybrid voice activity detectors."""
