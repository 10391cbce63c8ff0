/** Small things that a device remembers. Without a store (a private window) it forgets them, and nothing breaks. */
const PREFIX = 'comfylabel.';

export function recall(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // Full, or not allowed: it was a convenience.
  }
}
