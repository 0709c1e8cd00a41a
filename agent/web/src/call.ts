import { type Reservation, type TransportKind, Unreachable, reserve } from "./api";
import { CallAudio } from "./audio";
import { type Ending, type Listener, Session } from "./session";
import { CLOSED, GONE, INSECURE, LOST, type Trouble, UNPLUGGED, inWords } from "./words";

/** Pauses before each try to reconnect, in seconds. */
const BACKOFF_S = [1, 2, 4, 8, 8];

export interface Choice {
  persona: string;
  transport: TransportKind;
  iceServers: RTCIceServer[];
  /** False to talk by typing alone. */
  microphone: boolean;
}

/** What a call tells the page, beside what the agent's session tells it. */
export interface CallListener extends Omit<Listener, "ended"> {
  connecting(): void;
  ready(): void;
  /** The voice began or stopped being audible. */
  audible(playing: boolean): void;
  /** The connection broke; the sentence says what is being done about it. */
  reconnecting(text: string): void;
  /** The call is over for a reason of its own. */
  failed(trouble: Trouble): void;
  /** The agent hung up. */
  closed(text: string): void;
}

/** One call from the click on Start to its end, across reconnections. */
export class Call {
  private audio: CallAudio | null = null;
  private session: Session | null = null;
  private muted = false;
  private over = false;
  private cancelPause: () => void = () => {};
  private readonly offline = () => this.onEnded({ kind: "lost" });

  constructor(
    private readonly choice: Choice,
    private readonly listener: CallListener,
  ) {}

  get microphone() {
    return this.choice.microphone ? this.audio?.microphoneLevel : undefined;
  }

  get voice() {
    return this.audio?.voiceLevel;
  }

  async start(): Promise<void> {
    this.listener.connecting();
    if (!window.isSecureContext) {
      return this.fail({ text: INSECURE, microphone: false });
    }
    try {
      // First the microphone: its permission may take a person longer than a reservation lasts.
      this.audio = await CallAudio.open({ microphone: this.choice.microphone });
      this.audio.onPlaying = (playing) => this.listener.audible(playing);
      this.audio.onMicrophoneLost = () => this.listener.notice(UNPLUGGED, "error");
      if (this.over) return this.audio.close();
      await this.connect();
    } catch (error) {
      this.fail(inWords(error));
    }
  }

  mute(muted: boolean): void {
    this.muted = muted;
    this.session?.mute(muted);
  }

  sendText(text: string): void {
    this.session?.sendText(text);
  }

  async stop(): Promise<void> {
    this.over = true;
    this.cancelPause();
    removeEventListener("offline", this.offline);
    const { session, audio } = this;
    this.session = this.audio = null;
    audio?.cut();
    await session?.close();
    audio?.close();
  }

  private async connect(): Promise<void> {
    const { persona, transport, iceServers } = this.choice;
    const reservation: Reservation = await reserve(persona, transport);
    if (this.over || !this.audio) return;
    const session = new Session(
      transport,
      this.audio,
      { ...this.listener, ended: (reason) => this.onEnded(reason) },
      iceServers,
    );
    this.session = session;
    await session.connect(reservation);
    if (this.over) return session.close();
    session.mute(this.muted);
    addEventListener("offline", this.offline);
    this.listener.ready();
  }

  private onEnded(reason: Ending): void {
    removeEventListener("offline", this.offline);
    if (this.over) return;
    if (reason.kind === "closed") {
      void this.stop();
      this.listener.closed(CLOSED);
    } else if (reason.kind === "failed") {
      this.fail({ text: `The agent stopped with an error: ${reason.text}`, microphone: false });
    } else {
      void this.reconnect();
    }
  }

  private async reconnect(): Promise<void> {
    void this.session?.close();
    this.session = null;
    let trouble: Trouble = { text: GONE, microphone: false };
    for (const pause_s of BACKOFF_S) {
      this.listener.reconnecting(LOST);
      await this.pause(pause_s);
      if (this.over) return;
      try {
        return await this.connect();
      } catch (error) {
        trouble = error instanceof Unreachable ? { text: GONE, microphone: false } : inWords(error);
      }
    }
    if (!this.over) this.fail(trouble);
  }

  private fail(trouble: Trouble): void {
    if (this.over) return;
    void this.stop();
    this.listener.failed(trouble);
  }

  private pause(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.cancelPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
