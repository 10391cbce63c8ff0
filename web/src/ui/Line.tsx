/** Line icons, 24 x 24, drawn with the colour of the text. They stand beside words, so they are hidden from readers. */

/** Those of the labelling screen; the other pages have more (Icon.tsx). */
export const LINES = {
  back: 'M15 5l-7 7 7 7',
  undo: 'M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6',
  reject: 'M6 6l12 12M18 6L6 18',
  tie: 'M5 9h14M5 15h14',
  spam: 'M8.5 3h7L21 8.5v7L15.5 21h-7L3 15.5v-7zM12 8v5M12 16h.01',
  skip: 'M5 6l8 6-8 6zM18 6v12',
  grid: 'M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z',
  single: 'M7 5h10v14H7zM3 8v8M21 8v8',
  about: 'M12 11v6M12 7.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  keys: 'M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h2M7 14h10',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5',
  done: 'M5 12.5l4.5 4.5L19 7.5',
} as const;

export function Line({ path, size = 18 }: { path: string; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true">
      <path d={path} />
    </svg>
  );
}
