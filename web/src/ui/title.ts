/** What stands for a text where there is room for one line. */
export function firstLine(text: string | null): string | null {
  return (
    text
      ?.split('\n')
      .find((line) => line.trim())
      ?.trim() ?? null
  );
}
