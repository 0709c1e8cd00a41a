"""What a caption shows of an answer that was cut off, from what the conversation keeps of it."""

import json
from pathlib import Path

import pytest

from tests.agent.web.node import WEB, run

_SCRIPT = """
import { upTo } from %r;
const [said, heard] = JSON.parse(process.argv[1]);
console.log(JSON.stringify(upTo(said, heard)));
"""


def kept(said: list[str], heard: str) -> str | None:
    module = Path(WEB / "src" / "heard.ts").as_uri()
    given = json.dumps([said, heard])
    return json.loads(run("node", "--input-type=module", "-e", _SCRIPT % module, given))


@pytest.mark.parametrize(
    ("said", "heard", "caption"),
    [
        pytest.param(["One two", "three four"], "One two three", "One two three", id="ran ahead"),
        pytest.param(["One two", "three,"], "One two", "One two", id="a sentence ahead"),
        pytest.param(["One two"], "One two three four.", "One two three four.", id="behind"),
        pytest.param(["One two.", "Three"], "One two. Three", "One two. Three", id="the same"),
        pytest.param(
            ["It’s fine — “really”. 😀"],
            'It\'s fine, "really".',
            "It’s fine — “really”. 😀",
            id="the same in another spelling",
        ),
        pytest.param(["Well — it’s so, I"], "Well, it's", "Well — it’s", id="keeps its spelling"),
        pytest.param(["One two.", "I say"], "I", "One two. I", id="what was heard before stays"),
        pytest.param(["Sure thing,", "here is the", ""], "", "", id="nothing"),
        pytest.param(["One two.", "Three"], "One two.", "One two.", id="nothing of the last"),
        pytest.param(["is the end", "of"], "This is the end", "is the end", id="begun later"),
        pytest.param(["No no no no"], "No, no", "No no", id="no more often than it was heard"),
        pytest.param(
            ["It costs $5 a month, and you can"],
            "It costs five dollars a month,",
            "It costs $5 a month,",
            id="an amount",
        ),
        pytest.param(
            ["I have 3 cats.", "I"], "I have three cats.", "I have 3 cats.", id="a number"
        ),
        pytest.param(["We open at 9.", "We"], "We open at nine.", "We open at 9.", id="its end"),
        pytest.param(
            ["It is 25 per cent of"], "It is twenty five", "It is 25", id="a number of two words"
        ),
        pytest.param(["Well—it’s so"], "Well,", "Well", id="a dash without blanks"),
        pytest.param(["So😀it is"], "So", "So", id="a picture between words"),
        pytest.param(["Cafe\u0301 is open"], "Caf\u00e9", "Caf\u00e9", id="another Unicode form"),
        pytest.param(["𝐇𝐞𝐥lo there you"], "𝐇𝐞𝐥lo there", "𝐇𝐞𝐥lo there", id="rare letters"),
        pytest.param(["今日はいい天気"], "今日は", "今日は", id="no blanks between words"),
        pytest.param([], "One", None, id="no caption"),
        pytest.param(["One two"], "Three four", None, id="another text"),
    ],
)
def test_a_caption_ends_where_the_conversation_does(
    said: list[str], heard: str, caption: str | None
):
    assert kept(said, heard) == caption
