/** Every icon by its name. */
import { Line, LINES } from './Line.tsx';

const PATHS = {
  ...LINES,
  draft: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  frozen: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  running: 'M8 5.5v13l11-6.5z',
  pause: 'M8 5v14M16 5v14',
  failed: 'M6 6l12 12M18 6L6 18',
  away: 'M3 4l18 16M8.5 8.7A6 6 0 0 0 6 20h11M11 6.2A6 6 0 0 1 18 12a4 4 0 0 1 3 6',
  waiting: 'M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  key: 'M14.5 13a4.5 4.5 0 1 0-4.2-6.1A4.5 4.5 0 0 0 10.5 11L4 17.5V20h3v-2h2v-2h2l2-2.3',
  empty: 'M4 6h16v12H4zM4 15l4-4 4 4 3-3 5 5M15.5 9.5h.01',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8',
  kept: 'M7 3h10v18H7zM11 18h2',
  warning: 'M12 4l9.5 16h-19zM12 10v5M12 17.5h.01',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return <Line path={PATHS[name]} size={size} />;
}
