import type { Played } from "./audio";

/** The server reckons that the voice goes on at the pace of time between two reports. */
const EVERY_MS = 200;

/**
 * Reports to the server how much of its reply the caller has heard, so that what is cut off is
 * remembered as far as it was heard: when a reply begins to play, while it plays, and when nothing
 * is left of it. Sound that stands still is reported too: it is not heard.
 */
export class PlayoutReports {
  private last: Played | undefined;
  private timer: ReturnType<typeof setInterval> | undefined;

  /** `send` returns false where there is nobody to tell. */
  constructor(private readonly send: (reply: string, playedMs: number) => boolean) {}

  take(played: Played): void {
    const isNews = played.reply !== this.last?.reply || !played.more;
    this.last = played;
    if (isNews) this.report();
    if (!played.more) this.stop();
    else this.timer ??= setInterval(() => this.report(), EVERY_MS);
  }

  private report(): void {
    if (!this.last) return;
    if (!this.send(this.last.reply, Math.round(this.last.seconds * 1000))) this.stop();
  }

  private stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
