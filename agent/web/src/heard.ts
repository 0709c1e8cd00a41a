/** What scripts write without blanks is compared sign by sign. */
const SIGNS = String.raw`[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]`;
const WORD = new RegExp(String.raw`${SIGNS}\p{M}*|(?:(?!${SIGNS})[\p{L}\p{N}\p{M}]|['’](?=\p{L}))+`, "gu");
/** What may stand behind a word and still belongs to it: no dash, and nothing that is drawn. */
const BEHIND = /^(?:(?![\u2012-\u2015]|\p{Extended_Pictographic})[^\s\p{L}\p{N}])*/u;

const SAME = 2;
const OTHER = -1;
/** Far less than a word: of two ways that are as good, the one that leaves out less before. */
const LEFT_OUT = -0.01;

interface Word {
  key: string;
  end: number;
}

/**
 * The words of a caption up to where a text ends that was heard.
 *
 * Both are compared word by word, and where they end together is what counts: the caption may have
 * begun later than the text, or may not have come as far yet, and then the text goes on. The caption
 * keeps its own spelling, which may be another: a voice is given "three" to say for "3".
 *
 * @param said The caption's sentences, each as far as it is marked as spoken.
 * @param heard What was heard since the caller last spoke, in the conversation's spelling.
 * @returns The caption's words; null if the two have nothing to do with each other.
 */
export function upTo(said: string[], heard: string): string | null {
  const caption = said.filter(Boolean).join(" ").normalize("NFC");
  const text = heard.normalize("NFC");
  const shown = words(caption);
  const wanted = words(text);
  if (!wanted.length) return "";
  const { score, upToShown, upToWanted } = together(shown, wanted);
  if (score <= 0) return null;
  if (upToShown === shown.length) return caption + rest(text, wanted, upToWanted);
  const { end } = shown[upToShown - 1]!;
  return caption.slice(0, end) + (BEHIND.exec(caption.slice(end))?.[0] ?? "");
}

function words(text: string): Word[] {
  return [...text.matchAll(WORD)].map((found) => ({
    key: found[0].replace(/['’]/gu, "").toLowerCase(),
    end: found.index + found[0].length,
  }));
}

/** How many words of either stand where one of them ends, if they are laid beside each other. */
function together(shown: Word[], wanted: Word[]) {
  let best = { score: 0, upToShown: 0, upToWanted: 0 };
  let before = wanted.map((_, column) => LEFT_OUT * (column + 1));
  for (const [line, word] of shown.entries()) {
    const scores: number[] = [];
    for (const [column, other] of wanted.entries()) {
      const nothing = LEFT_OUT * (line + column + 2);
      const diagonal = column ? before[column - 1]! : LEFT_OUT * line;
      const left = column ? scores[column - 1]! : LEFT_OUT * (line + 1);
      const score = Math.max(
        nothing,
        diagonal + likeness(word.key, other.key),
        before[column]! + OTHER,
        left + OTHER,
      );
      scores.push(score);
      const ends = line === shown.length - 1 || column === wanted.length - 1;
      if (ends && score > best.score) best = { score, upToShown: line + 1, upToWanted: column + 1 };
    }
    before = scores;
  }
  return best;
}

function likeness(shown: string, wanted: string): number {
  if (shown === wanted) return SAME;
  // It may be the number that is spelt out.
  return /\p{N}/u.test(shown) ? 0 : OTHER;
}

/** What follows the first so many words of a text. */
function rest(text: string, all: Word[], count: number): string {
  if (count === all.length) return "";
  return text.slice(all[count - 1]!.end).replace(/^[^\p{L}\p{N}\s]+/u, "");
}
