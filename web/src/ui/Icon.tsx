/** Line icons, 24 x 24, drawn with the colour of the text. They stand beside words, so they are hidden from readers. */
const PATHS = {
  draft: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  frozen: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  running: 'M8 5.5v13l11-6.5z',
  done: 'M5 12.5l4.5 4.5L19 7.5',
  failed: 'M6 6l12 12M18 6L6 18',
  away: 'M3 4l18 16M8.5 8.7A6 6 0 0 0 6 20h11M11 6.2A6 6 0 0 1 18 12a4 4 0 0 1 3 6',
  waiting: 'M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  key: 'M14.5 13a4.5 4.5 0 1 0-4.2-6.1A4.5 4.5 0 0 0 10.5 11L4 17.5V20h3v-2h2v-2h2l2-2.3',
  empty: 'M4 6h16v12H4zM4 15l4-4 4 4 3-3 5 5M15.5 9.5h.01',
  back: 'M15 5l-7 7 7 7',
  undo: 'M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6',
  reject: 'M6 6l12 12M18 6L6 18',
  tie: 'M5 9h14M5 15h14',
  spam: 'M8.5 3h7L21 8.5v7L15.5 21h-7L3 15.5v-7zM12 8v5M12 16h.01',
  skip: 'M5 6l8 6-8 6zM18 6v12',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  grid: 'M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z',
  single: 'M7 5h10v14H7zM3 8v8M21 8v8',
  about: 'M12 11v6M12 7.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  keys: 'M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h2M7 14h10',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5',
  people:
    'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8',
  kept: 'M7 3h10v18H7zM11 18h2',
  warning: 'M12 4l9.5 16h-19zM12 10v5M12 17.5h.01',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
