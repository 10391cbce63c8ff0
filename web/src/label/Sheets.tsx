/** What opens over the pictures and closes again: about this batch, settings, keys. Fetched when the page is idle. */
import { useSignal, useSignalEffect } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';
import { Icon } from '../ui/Icon';
import { remember } from '../ui/memory';
import { some } from '../ui/words';
import { haptics, pulse, theme, type Theme } from './comfort.ts';
import type { SheetName } from './Screen.tsx';
import { letter } from './letters.ts';
import type { Batch, Sitting } from './types.ts';
import './sheets.css';

interface SheetsProps {
  sitting: Sitting;
  name: SheetName;
  open: (name: SheetName | null) => void;
}

export function Sheets({ sitting, name, open }: SheetsProps) {
  const close = () => open(null);
  switch (name) {
    case 'about':
      return (
        <Sheet title="About this batch" close={close}>
          <About sitting={sitting} />
        </Sheet>
      );
    case 'settings':
      return (
        <Sheet title="Settings" close={close}>
          <Settings sitting={sitting} />
          <button class="button" onClick={() => open('keys')}>
            Keys and gestures
          </button>
        </Sheet>
      );
    case 'keys':
      return (
        <Sheet title="Keys and gestures" close={close}>
          <Keys />
        </Sheet>
      );
  }
}

/** The browser's own modal dialog, from below on a phone: a tap beside it closes it and does nothing else. */
function Sheet({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-labelledby="sheet-title"
      onClose={close}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
    >
      <div class="sheet-body">
        <header class="sheet-top">
          <h2 id="sheet-title">{title}</h2>
          <button class="button quiet square" aria-label="Close" onClick={() => dialog.current?.close()}>
            <Icon name="failed" size={20} />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

function About({ sitting }: { sitting: Sitting }) {
  const batch = sitting.current.value;
  if (!batch) return null;
  return (
    <>
      <p class="full-prompt" dir="auto">
        {batch.prompt}
      </p>
      {sitting.blind.value ? (
        <p class="soft">How these pictures were made is not shown in this task, so that it sways nobody.</p>
      ) : (
        <ul class="about-pictures">
          {batch.slot_order.map((_, place) => (
            <AboutPicture key={`${batch.batch_id} ${place}`} sitting={sitting} batch={batch} place={place} />
          ))}
        </ul>
      )}
    </>
  );
}

type Generation = components['schemas']['GenerationAnswer'];

function AboutPicture({ sitting, batch, place }: { sitting: Sitting; batch: Batch; place: number }) {
  const made = useSignal<Generation | null>(null);
  const candidate = batch.slot_order[place] as number;
  const id = batch.generation_ids[candidate];
  useSignalEffect(() => {
    if (!id) return;
    const stop = new AbortController();
    unwrap(
      api.GET('/api/generations/{generation_id}', { params: { path: { generation_id: id } }, signal: stop.signal }),
    )
      .then((answer) => (made.value = answer))
      // The seed stands there all the same; the rest is a courtesy.
      .catch(() => {});
    return () => stop.abort();
  });
  return (
    <li class="about-picture">
      <span class="about-thumb">
        <img src={sitting.picture(batch, place, 'thumbnails')} alt="" />
        <b>{letter(place)}</b>
      </span>
      <dl>
        <Fact name="Seed" value={seedOf(batch, candidate)} />
        <Fact name="Size" value={batch.sizes[candidate]?.join(' × ')} />
        {factsOf(made.value).map(([name, value]) => (
          <Fact key={name} name={words(name)} value={value} />
        ))}
        <Fact name="Worker" value={made.value?.worker ?? undefined} />
      </dl>
    </li>
  );
}

/** What is kept of a generation; its size stands there already. */
function factsOf(made: Generation | null): [string, string][] {
  return Object.entries(made?.metadata ?? {})
    .filter(([name]) => name !== 'resolution')
    .map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)]);
}

function seedOf(batch: Batch, candidate: number): string | undefined {
  const seed = batch.seeds[candidate];
  // Several of one seed: which of them it is. One each: the number says nothing.
  const several = batch.batch_indexes.some((index) => index > 0);
  return seed === undefined ? undefined : several ? `${seed} #${batch.batch_indexes[candidate]}` : String(seed);
}

/** "workflow_version" is written for programs. */
function words(name: string): string {
  const said = name.replaceAll('_', ' ');
  return said.charAt(0).toUpperCase() + said.slice(1);
}

function Fact({ name, value }: { name: string; value: string | undefined }) {
  if (!value) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function setHaptics(on: boolean): void {
  haptics.value = on;
  remember('haptics', on ? null : 'off');
  pulse();
}

function setTheme(choice: Theme): void {
  theme.value = choice;
  remember('theme', choice === 'system' ? null : choice);
}

const canPulse = 'vibrate' in navigator && matchMedia('(pointer: coarse)').matches;

function Settings({ sitting }: { sitting: Sitting }) {
  const setMode = (mode: string) => {
    if (mode !== sitting.mode.value) sitting.toggleMode();
  };
  return (
    <div class="settings">
      <Choice
        name="Show"
        choices={{ grid: 'All pictures', single: 'One at a time' }}
        chosen={sitting.mode.value}
        onChoose={setMode}
      />
      <Choice
        name="Look"
        choices={{ system: 'As the system', dark: 'Dark', light: 'Light' }}
        chosen={theme.value}
        onChoose={(look) => setTheme(look as Theme)}
      />
      {canPulse && (
        <Switch name="Vibrate on an answer" on={haptics.value} onSwitch={setHaptics}>
          A short tick under the finger.
        </Switch>
      )}
      <OfflineMode sitting={sitting} />
    </div>
  );
}

function OfflineMode({ sitting }: { sitting: Sitting }) {
  const { possible, on, ready, wanted, bytes, expected, stopped } = sitting.offline.value;
  return (
    <Switch name="Offline mode" on={on} disabled={!possible} onSwitch={(wish) => void sitting.keepOffline(wish)}>
      {possible
        ? 'Keeps up to 200 batches with their pictures on this device, to label them without a network.'
        : 'Your browser keeps pictures only for a server that is reached through https.'}
      {on && (
        <span class="offline-progress" role="status">
          <progress value={ready} max={Math.max(wanted, 1)} aria-label="Batches kept on this device" />
          <span>
            {ready} of {some(wanted, 'batch', 'batches')} kept on this device
            {expected > 0 && `, ${megabytes(bytes)} of about ${megabytes(expected)}`}
          </span>
          {stopped === 'no room' && <span class="warn">There is no room for more on this device.</span>}
          {stopped === 'away' && <span class="warn">The server does not answer; it goes on by itself.</span>}
        </span>
      )}
    </Switch>
  );
}

const megabytes = (bytes: number) => `${Math.max(1, Math.round(bytes / 1e6))} MB`;

interface ChoiceProps {
  name: string;
  choices: Record<string, string>;
  chosen: string;
  onChoose: (choice: string) => void;
}

function Choice({ name, choices, chosen, onChoose }: ChoiceProps) {
  return (
    <fieldset class="choice">
      <legend>{name}</legend>
      {Object.entries(choices).map(([choice, said]) => (
        <label key={choice}>
          <input type="radio" name={name} checked={chosen === choice} onChange={() => onChoose(choice)} />
          <span>{said}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface SwitchProps {
  name: string;
  on: boolean;
  disabled?: boolean;
  onSwitch: (on: boolean) => void;
  children: ComponentChildren;
}

function Switch({ name, on, disabled, onSwitch, children }: SwitchProps) {
  return (
    <div class="switch">
      <label>
        <span>{name}</span>
        <input
          type="checkbox"
          role="switch"
          checked={on}
          disabled={disabled}
          onChange={(event) => onSwitch(event.currentTarget.checked)}
        />
      </label>
      <div class="soft">{children}</div>
    </div>
  );
}

const KEYS = [
  ['1 – 9', 'Choose that picture as best'],
  ['X', 'then a number: the worst picture'],
  ['T', 'Tie: they are equally good'],
  ['S', 'Spam: none of them is usable'],
  ['K', 'Skip this batch'],
  ['Z', 'Undo'],
  ['← →', 'Look at the batch before or after; one at a time: the other pictures'],
  ['↑ ↓', 'Look at the batch before or after'],
  ['F', 'Zoom in and out'],
  ['G', 'All pictures, or one at a time'],
  ['I', 'About this batch'],
  ['?', 'These keys'],
] as const;

const GESTURES = [
  ['Tap a letter', 'Choose that picture as best'],
  ['Tap a picture', 'The same, a moment later'],
  ['Hold a picture', 'It is the worst; then tap the best'],
  ['Tap twice', 'Zoom in and out'],
  ['Two fingers', 'Zoom all pictures together'],
  ['Swipe', 'Look at the batch before or after; one at a time: the other pictures'],
] as const;

function Keys() {
  const finger = matchMedia('(hover: none)').matches;
  const fingers = ['Fingers', GESTURES] as const;
  const keys = ['Keys', KEYS] as const;
  return (
    <>
      {(finger ? [fingers, keys] : [keys, fingers]).map(([title, list]) => (
        <section key={title} class="keys">
          <h3>{title}</h3>
          <dl>
            {list.map(([key, said]) => (
              <div key={key}>
                <dt>{title === 'Keys' ? <kbd>{key}</kbd> : key}</dt>
                <dd>{said}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
    </>
  );
}
