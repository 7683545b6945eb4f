import { beginsWord, type Detector, endsWord, isFraction } from './scan-text.ts';

/** What must never be kept beside a card number: security codes and PINs (3 or 4 digits, 6 at most for a PIN) in context, and magnetic track data by shape. */
export const cardSecurity: Detector = {
  name: 'card-security', needs: { digits: 3, character: null }, minLength: 3,
  scan: (source, emit) => {
    const { text } = source;
    const tracks = /%B\d{12,19}\^[^^\n]{2,26}\^\d{7,100}\??|;\d{12,19}=\d{7,100}\??/g;
    for (let match = tracks.exec(text); match !== null; match = tracks.exec(text)) emit(match.index, match.index + match[0].length);
    const runs = source.runs();
    for (let run = 0; run < runs.length; run += 2) {
      const [start, end] = [runs[run] as number, runs[run + 1] as number];
      const size = end - start;
      if ((size !== 3 && size !== 4 && size !== 6) || !beginsWord(text, start) || !endsWord(text, end) || isFraction(text, start, end)) continue;
      if (source.hasContext('card-security', start, end)) emit(start, end);
    }
  },
};
