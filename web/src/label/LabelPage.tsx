/** /label/{task}: one batch after another, for as long as this person wants. */
import { useEffect, useState } from 'preact/hooks';
import { remember } from '../ui/memory.ts';
import { openSitting } from './open.ts';
import { Screen } from './Screen.tsx';

export function LabelPage({ taskId, userId }: { taskId: string; userId: string }) {
  const [{ sitting, close }] = useState(() => openSitting(taskId, userId));
  useEffect(() => {
    void sitting.load();
    remember('task', `${userId} ${taskId}`);
    return () => {
      sitting.leave();
      close();
    };
  }, []);
  return <Screen sitting={sitting} />;
}
