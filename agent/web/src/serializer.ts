import { ProtobufFrameSerializer } from "@pipecat-ai/websocket-transport";

/** First byte of a protobuf `Frame` holding an `InterruptionFrame` (field 5, length-delimited). */
const INTERRUPTION_TAG = (5 << 3) | 2;

type Incoming =
  | Awaited<ReturnType<ProtobufFrameSerializer["deserialize"]>>
  | { type: "raw"; message: unknown };

/**
 * Pipecat's protobuf frames, with two things the stock serializer lacks.
 *
 * It reports the server's interruption frame, which comes in the one place in the stream where
 * everything before it is stale and everything after it is the new answer. And it keeps frames in
 * order: each is read asynchronously, so a short one could otherwise overtake a long one.
 */
export class OrderedSerializer extends ProtobufFrameSerializer {
  private tail: Promise<unknown> = Promise.resolve();

  constructor(private readonly onInterruption: () => void) {
    super();
  }

  // @ts-expect-error The transport also takes "raw" results; the base class never makes one.
  override deserialize(data: Blob): Promise<Incoming> {
    const frame = this.tail.then(() => this.read(data));
    this.tail = frame.catch(() => undefined);
    return frame;
  }

  private async read(data: Blob): Promise<Incoming> {
    const [tag] = new Uint8Array(await data.slice(0, 1).arrayBuffer());
    if (tag !== INTERRUPTION_TAG) return super.deserialize(data);
    this.onInterruption();
    return { type: "raw", message: "interruption" };
  }
}
