import { type Config, type Made, fetchConfig, fetchPersonas } from "./api";
import { Call } from "./call";
import { Captions } from "./captions";
import { listenForShortcuts } from "./keyboard";
import { Meter } from "./meter";
import { PersonaPicker } from "./personas";
import { Conversation } from "./state";
import { Studio } from "./studio";
import { View } from "./view";
import { VoiceSign } from "./voice";
import { keepAwake } from "./wakelock";
import { SILENT, inWords, newVoice } from "./words";

const query = new URLSearchParams(location.search);
const view = new View();
const captions = new Captions(view.captions);
const picker = new PersonaPicker(view.cards, (persona) => view.meet(persona));
const voiceSign = new VoiceSign(view.voice, view.voiceNote);
const meter = new Meter(view.level, view.orb, (silent) => {
  if (silent) view.say(SILENT);
  else view.unsay(SILENT);
});
const conversation = new Conversation((phase) => view.phase(phase));

const studio = new Studio({
  made: (made, displayName) => void met(made, displayName),
  closed: () => view.focusStart(),
});

let config: Config | undefined;
let call: Call | null = null;
let muted = false;
let letSleep: () => void = () => {};

async function load(): Promise<void> {
  view.clear();
  try {
    const [personas, fetched] = await Promise.all([fetchPersonas(), fetchConfig()]);
    config = fetched;
    view.offer(fetched, query.get("transport"));
    studio.offer(fetched.recordings, personas.personas);
    picker.show(personas, query.get("persona"));
  } catch (error) {
    conversation.failed();
    view.trouble(inWords(error).text, { label: "Try again", act: () => location.reload() });
  }
}

/** A new persona: it is chosen, and ready to be talked to. */
async function met(made: Made, displayName: string): Promise<void> {
  try {
    const personas = await fetchPersonas();
    studio.offer(config?.recordings ?? null, personas.personas);
    view.say(newVoice(displayName));
    picker.show(personas, made.name);
  } catch (error) {
    view.trouble(inWords(error).text, { label: "Try again", act: () => location.reload() });
  }
}

function start(microphone = true): void {
  const persona = picker.current;
  if (call || !persona || !config || studio.open) return;
  view.clear();
  captions.clear();
  captions.agentName = persona.display_name;
  letSleep = keepAwake();
  call = new Call(
    {
      persona: persona.name,
      transport: view.transport,
      iceServers: config.ice_servers,
      microphone,
    },
    {
      connecting: () => conversation.connecting(),
      ready: () => {
        view.clear();
        conversation.ready();
        meter.run(() => ({
          microphone: call?.microphone,
          voice: call?.voice,
          listening: conversation.phase === "listening" && !muted,
        }));
      },
      audible: (playing) => conversation.voiceAudible(playing),
      userStarted: () => {
        view.clear();
        conversation.userStarted();
      },
      userStopped: () => conversation.userFinished(),
      userSaid: (text, final) => captions.userSaid(text, final),
      answerStarted: () => {
        captions.answerStarted();
        conversation.answerStarted();
      },
      answerWritten: () => conversation.answerWritten(),
      voiceAnnounced: (speaking) => conversation.voiceAnnounced(speaking),
      agentSaid: (output) => captions.agentSaid(output),
      interrupted,
      heard: (text) => captions.heard(text),
      latency: (latency) => captions.latency(latency),
      notice: (text, level) => view.say(text, level),
      voice: (voice) => voiceSign.show(voice),
      reconnecting: (text) => {
        captions.interrupted(conversation.speaking);
        captions.close();
        conversation.connecting();
        view.trouble(text);
      },
      failed: ({ text, microphone: missing }) => {
        end();
        conversation.failed();
        const typing = { label: "Type instead", act: () => start(false) };
        view.trouble(text, missing ? typing : { label: "Try again", act: () => start(microphone) });
      },
      closed: (text) => {
        end();
        conversation.stopped();
        view.say(text);
      },
    },
  );
  view.talking(microphone);
  mute(false);
  void call.start();
}

function interrupted(): void {
  captions.interrupted(conversation.speaking && conversation.unfinished);
  conversation.interrupted();
}

function stop(): void {
  studio.close();
  if (!call) return;
  void call.stop();
  captions.interrupted(conversation.speaking && conversation.unfinished);
  end();
  conversation.stopped();
  view.clear();
}

function end(): void {
  call = null;
  letSleep();
  meter.stop();
  captions.close();
  voiceSign.clear();
  view.resting(captions.empty);
}

function mute(on: boolean): void {
  muted = on;
  call?.mute(on);
  view.muted(on);
}

function send(text: string): boolean {
  if (!call || conversation.phase === "connecting" || !text.trim()) return false;
  view.clear();
  interrupted();
  captions.userSaid(text, true);
  conversation.userFinished();
  call.sendText(text);
  return true;
}

view.on({
  start: () => start(),
  stop,
  mute: () => mute(!muted),
  send,
  ownVoice: () => studio.show(),
});
listenForShortcuts({
  start: () => start(),
  stop,
  mute: () => call && mute(!muted),
  type: () => view.focusTyping(),
});
void load();
