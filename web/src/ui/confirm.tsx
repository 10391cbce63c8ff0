/** "Are you sure?" in the browser's own modal dialog: Escape, focus and inertness come with it. */
import type { ComponentChildren } from 'preact';
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

interface Question {
  title: string;
  body: ComponentChildren;
  verb: string;
  danger?: boolean;
  answer: (yes: boolean) => void;
}

const asked = signal<Question | null>(null);

export function confirm(question: Omit<Question, 'answer'>): Promise<boolean> {
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (yes) => {
        asked.value = null;
        resolve(yes);
      },
    };
  });
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
    <dialog ref={dialog} class="dialog" aria-labelledby="confirm-title" onClose={() => question.answer(false)}>
      <h2 id="confirm-title">{question.title}</h2>
      <div class="dialog-body">{question.body}</div>
      <div class="dialog-actions">
        <button class="button" onClick={() => question.answer(false)}>
          Back
        </button>
        <button class={question.danger ? 'button danger' : 'button primary'} onClick={() => question.answer(true)}>
          {question.verb}
        </button>
      </div>
    </dialog>
  );
}
