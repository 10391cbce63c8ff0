/** How much of its time a worker worked. */
import { percent } from './words';

export function Busy({ name, share }: { name: string; share: number | null }) {
  if (share === null) return <p class="busy soft">Nothing is known yet</p>;
  const within = Math.min(1, Math.max(0, share));
  const words = `${percent(within, 1)} busy`;
  return (
    <div class="busy">
      <div
        class="bar-track"
        role="meter"
        aria-label={`How busy ${name} is`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(within * 100)}
        aria-valuetext={words}
      >
        <span class="part-done" style={{ width: `${within * 100}%` }} />
      </div>
      <span>{words}</span>
    </div>
  );
}
