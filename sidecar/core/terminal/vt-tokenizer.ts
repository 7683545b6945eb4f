/** What kind of control sequence a token is; `control` is a single C0 or C1 control. */
export type VtKind = 'control' | 'escape' | 'csi' | 'osc' | 'dcs' | 'string';

/** Takes what the tokenizer finds, in order. Everything is a byte string: one character per byte. */
export interface VtSink {
  /** Printable text, TAB, LF, VT, FF and CR. */
  text(bytes: string): void;
  /** One whole control sequence, introducer and terminator included. */
  sequence(bytes: string, kind: VtKind): void;
}

/** Longest control sequence that is passed on; a longer one is dropped whole. */
export const longestSequence: number = 4096;

/**
 * Separates text from control sequences in valid UTF-8, cut anywhere. Follows ECMA-48 and xterm: 7-bit introducers and the C1 controls as UTF-8 (U+0080 to U+009F).
 * A control string ends with ST, BEL or any ESC, and with a line feed, since no program means to swallow lines; CAN and SUB end every sequence.
 * Where terminals differ about a malformed sequence, what follows is text: then detectors see it.
 */
export class VtTokenizer {
  readonly #sink: VtSink;
  #state: 'ground' | 'escape' | 'intermediate' | 'csi' | 'string' = 'ground';
  #kind: VtKind = 'escape';
  #sequence = '';
  #dropped = false;
  /** A lead byte 0xC2 that may begin a C1 control. */
  #lead = false;

  constructor(sink: VtSink) {
    this.#sink = sink;
  }

  /** True between sequences: nothing is held. */
  get idle(): boolean {
    return this.#state === 'ground' && !this.#lead;
  }

  push(bytes: string): void {
    if (this.idle && !special.test(bytes)) {
      if (bytes !== '') this.#sink.text(bytes);
      return;
    }
    let from = 0;
    const textUpTo = (end: number): void => {
      if (end > from) this.#sink.text(bytes.slice(from, end));
    };
    for (let at = 0; at < bytes.length; at += 1) {
      const code = bytes.charCodeAt(at);
      if (this.#state === 'ground') {
        if (!this.#lead && (code >= 0x20 || isLineOrTab(code)) && code !== 0x7f && code !== 0xc2) continue;
        textUpTo(at);
        from = at + 1;
        this.#ground(code);
        continue;
      }
      from = this.#inSequence(code) ? at + 1 : at;
      // The byte belongs to what follows: it is looked at again as text.
      if (from === at) at -= 1;
    }
    if (this.#state === 'ground' && !this.#lead) textUpTo(bytes.length);
  }

  /** At the end of the stream: a sequence that never ended is passed as it is. */
  end(): void {
    if (this.#lead) this.#sink.text('\xc2');
    this.#lead = false;
    if (this.#state !== 'ground') this.#finish();
  }

  #ground(code: number): void {
    if (this.#lead) {
      this.#lead = false;
      if (code >= 0x80 && code <= 0x9f) this.#c1(code);
      else this.#sink.text(`\xc2${String.fromCharCode(code)}`);
      return;
    }
    if (code === 0xc2) this.#lead = true;
    else if (code === 0x1b) this.#begin('escape', 'escape', '\x1b');
    else this.#sink.sequence(String.fromCharCode(code), 'control');
  }

  #c1(code: number): void {
    const introducer = `\xc2${String.fromCharCode(code)}`;
    if (code === 0x9b) this.#begin('csi', 'csi', introducer);
    else if (code === 0x9d) this.#begin('string', 'osc', introducer);
    else if (code === 0x90) this.#begin('string', 'dcs', introducer);
    else if (code === 0x98 || code === 0x9e || code === 0x9f) this.#begin('string', 'string', introducer);
    else this.#sink.sequence(introducer, 'control');
  }

  #begin(state: 'escape' | 'csi' | 'string', kind: VtKind, introducer: string): void {
    this.#state = state;
    this.#kind = kind;
    this.#sequence = introducer;
    this.#dropped = false;
  }

  /** @returns false when the byte does not belong to the sequence, which has ended before it. */
  #inSequence(code: number): boolean {
    if (code === 0x18 || code === 0x1a) {
      this.#take(code);
      this.#finish();
      return true;
    }
    switch (this.#state) {
      case 'escape': return this.#afterEscape(code);
      case 'intermediate': return this.#untilFinal(code, 0x30);
      case 'csi': return this.#untilFinal(code, 0x40);
      default: return this.#inString(code);
    }
  }

  #afterEscape(code: number): boolean {
    if (code === 0x1b || code < 0x20 || code >= 0x7f) {
      this.#finish();
      return false;
    }
    this.#take(code);
    if (code === 0x5b) this.#become('csi', 'csi');
    else if (code === 0x5d) this.#become('string', 'osc');
    else if (code === 0x50) this.#become('string', 'dcs');
    // SOS, PM, APC, and the title of screen and tmux (ESC k).
    else if (code === 0x58 || code === 0x5e || code === 0x5f || code === 0x6b) this.#become('string', 'string');
    else if (code <= 0x2f) this.#become('intermediate', 'escape');
    else this.#finish();
    return true;
  }

  #become(state: 'csi' | 'string' | 'intermediate', kind: VtKind): void {
    this.#state = state;
    this.#kind = kind;
  }

  #untilFinal(code: number, firstFinal: number): boolean {
    if (code < 0x20 || code >= 0x7f) {
      this.#finish();
      return false;
    }
    this.#take(code);
    if (code >= firstFinal) this.#finish();
    return true;
  }

  #inString(code: number): boolean {
    const endsWithC1 = code === 0x9c && this.#sequence.endsWith('\xc2');
    if (this.#sequence.endsWith('\x1b')) return this.#afterStringEscape(code);
    if (code === 0x0a) {
      this.#finish();
      return false;
    }
    this.#take(code);
    if (code === 0x07 || endsWithC1) this.#finish();
    return true;
  }

  /** ESC within a control string: `\` makes it ST, anything else begins a sequence of its own. */
  #afterStringEscape(code: number): boolean {
    if (code === 0x5c) {
      this.#take(code);
      this.#finish();
      return true;
    }
    this.#sequence = this.#sequence.slice(0, -1);
    this.#finish();
    this.#begin('escape', 'escape', '\x1b');
    return false;
  }

  #take(code: number): void {
    // One character of an over-long sequence is kept, so that its end is still seen.
    if (this.#sequence.length >= longestSequence) {
      this.#dropped = true;
      this.#sequence = '';
    }
    this.#sequence += String.fromCharCode(code);
  }

  #finish(): void {
    this.#state = 'ground';
    const bytes = this.#sequence;
    this.#sequence = '';
    if (!this.#dropped && bytes !== '') this.#sink.sequence(bytes, this.#kind);
    this.#dropped = false;
  }
}

/** Bytes that are not simply text: controls but TAB, LF, VT, FF, CR; and C1 controls, whose lead byte is 0xC2. */
const special = /[\x00-\x08\x0e-\x1f\x7f\xc2]/;

function isLineOrTab(code: number): boolean {
  return code >= 0x09 && code <= 0x0d;
}
