export interface Shortcuts {
  start(): void;
  stop(): void;
  mute(): void;
  type(): void;
}

const FIELDS = "input:not([type=radio]), textarea, select";
/** Elements that Enter and Space already mean something to. */
const ACTIVE = "button, summary, a, input, textarea, select";

/** Enter or Space starts, M mutes, T types, Esc leaves the text field and then stops. */
export function listenForShortcuts(shortcuts: Shortcuts): void {
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as Element;
    if (target.matches(FIELDS)) {
      if (event.key === "Escape") (target as HTMLElement).blur();
      return;
    }
    const action = actionOf(event.key, target, shortcuts);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionOf(key: string, target: Element, shortcuts: Shortcuts): (() => void) | undefined {
  switch (key) {
    case "Enter":
    case " ":
      return target.matches(ACTIVE) ? undefined : () => shortcuts.start();
    case "Escape":
      return () => shortcuts.stop();
    case "m":
    case "M":
      return () => shortcuts.mute();
    case "t":
    case "T":
      return () => shortcuts.type();
    default:
      return undefined;
  }
}
