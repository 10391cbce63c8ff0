/** The whole of a task in numbers, and when it ends. */
import type { ComponentChildren } from 'preact';
import { doneBetween, giveOrTake, isRough, rate, timeLeft } from '../tasks/eta';
import { Bar } from '../tasks/Made';
import type { Task } from '../tasks/server';
import { Icon } from '../ui/Icon';
import { count, some } from '../ui/words';
import type { Progress } from './server';
import { percent } from './words';

export function Standing({ task, now }: { task: Task; now: Progress }) {
  const planned = task.state === 'DRAFT' || task.state === 'FROZEN';
  return (
    <section class="card standing-card" aria-labelledby="standing">
      <h2 id="standing" class="unseen">
        How it stands
      </h2>
      {now.waiting_for && (
        <p class="waiting-for" role="status">
          <Icon name="warning" /> <span>{now.waiting_for}</span>
        </p>
      )}
      {planned ? (
        <p class="headline">
          <b>{count(now.total)}</b> {now.total === 1 ? 'image' : 'images'} planned
        </p>
      ) : (
        <>
          <p class="headline">
            <b>{count(now.done)}</b> of {some(now.total, 'image')}
            <span class="share">{percent(now.done, now.total)}</span>
          </p>
          <Bar label="Images made" counts={task.progress} />
          <Legend now={now} />
        </>
      )}
      <dl class="figures">
        {task.state === 'RUNNING' && <Ahead task={task} />}
        {!planned && <Figure name="Complete" value={now.summary} />}
        {!planned && (
          <Figure name="Ready to label" value={some(now.ready_batches, 'batch', 'batches')}>
            {now.ready_batches > 0 && <a href={`/label/${task.id}`}>Label them</a>}
          </Figure>
        )}
        {planned && (
          <Figure name="Prompts" value={`${count(task.target_prompts)} × ${some(task.seeds_per_prompt, 'seed')}`} />
        )}
      </dl>
    </section>
  );
}

function Legend({ now }: { now: Progress }) {
  return (
    <ul class="legend">
      <li data-part="done">{count(now.done)} done</li>
      <li data-part="running">{count(now.running)} being made</li>
      <li data-part="pending">{count(now.pending)} waiting</li>
      <li data-part="failed">
        {now.failed > 0 && <Icon name="failed" size={14} />} {count(now.failed)} failed
      </li>
    </ul>
  );
}

function Ahead({ task }: { task: Task }) {
  const { images_per_second: speed, eta_seconds: eta, eta_note: note, paused } = task;
  const sure = eta && giveOrTake(eta);
  return (
    <>
      <Figure name="Speed" value={speed === null ? 'Not known yet' : rate(speed)} />
      {eta && !paused ? (
        <Figure name="Left" value={timeLeft(eta)}>
          {sure && `${sure}; `}
          {doneBetween(eta, new Date())}
          {note ? `. ${note}` : isRough(eta) && '. A rough guess: too little is made to tell better.'}
        </Figure>
      ) : (
        <Figure name="Left" value={paused ? 'Paused' : 'Not known yet'}>
          {paused
            ? 'What is being made is kept, nothing new is sent.'
            : (note ?? 'The first images tell how long the rest takes.')}
        </Figure>
      )}
    </>
  );
}

function Figure({ name, value, children }: { name: string; value: string; children?: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b>
        {children && <span class="soft">{children}</span>}
      </dd>
    </div>
  );
}
