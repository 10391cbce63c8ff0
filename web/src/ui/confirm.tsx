/** A question before something is done, in the browser's own modal dialog: Escape, focus and inertness come with it. */
import type { ComponentChildren } from 'preact';
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

interface Choice<T> {
  verb: string;
  means: T;
  look?: 'primary' | 'danger';
}

interface Question<T> {
  title: string;
  body: ComponentChildren;
  /** What closes the dialog and does nothing. */
  back: string;
  choices: readonly Choice<T>[];
}

interface Asked extends Question<unknown> {
  answer: (means: unknown) => void;
}

const asked = signal<Asked | null>(null);

/** null: the person went back. */
export function ask<T>(question: Question<T>): Promise<T | null> {
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (means) => {
        asked.value = null;
        resolve(means as T | null);
      },
    };
  });
}

interface Confirmation {
  title: string;
  body: ComponentChildren;
  verb: string;
  danger?: boolean;
}

export async function confirm({ title, body, verb, danger }: Confirmation): Promise<boolean> {
  const choices = [{ verb, means: true, look: danger ? 'danger' : 'primary' }] as const;
  return (await ask({ title, body, back: 'Back', choices })) === true;
}

/** Mounted once by the shell. */
export function ConfirmDialog() {
  const question = asked.value;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (question) dialog.current?.showModal();
  }, [question]);
  if (!question) return null;
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="confirm-title" onClose={() => question.answer(null)}>
      <h2 id="confirm-title">{question.title}</h2>
      <div class="dialog-body">{question.body}</div>
      <div class="dialog-actions">
        <button class="button" onClick={() => question.answer(null)}>
          {question.back}
        </button>
        {question.choices.map(({ verb, means, look = '' }) => (
          <button key={verb} class={`button ${look}`} onClick={() => question.answer(means)}>
            {verb}
          </button>
        ))}
      </div>
    </dialog>
  );
}
