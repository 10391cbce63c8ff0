/** The name of a candidate by the place where it stands: A to Z, then numbers. */
export function letter(place: number): string {
  return place < 26 ? String.fromCharCode(65 + place) : String(place + 1);
}
