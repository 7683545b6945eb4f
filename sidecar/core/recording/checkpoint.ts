import { createPublicKey, generateKeyPairSync, hash, type KeyObject, sign, verify } from 'node:crypto';
import type { HexHash } from './merkle.ts';

/** What one checkpoint says: the log's name, how many records it has, and the root over them. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: HexHash;
}

/** Signs checkpoints of one log. The private key lives in memory only, for the life of the process. */
export interface CheckpointSigner {
  readonly origin: string;
  /** `<origin>+<key id>+<base64 key>`, as C2SP signed-note writes verifier keys. */
  readonly vkey: string;
  sign(size: number, root: HexHash): string;
}

/** A key that checks notes, read from its vkey. */
export interface NoteVerifier {
  readonly name: string;
  readonly keyId: string;
  readonly vkey: string;
  readonly key: KeyObject;
}

/** Makes a fresh Ed25519 key for a log. */
export function createSigner(origin: string): CheckpointSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
  const keyId = noteKeyId(origin, raw);
  return {
    origin,
    vkey: `${origin}+${keyId.toString('hex')}+${Buffer.concat([ed25519Type, raw]).toString('base64')}`,
    sign: (size, root) => {
      const body = checkpointBody({ origin, size, root });
      return `${body}\n— ${origin} ${Buffer.concat([keyId, sign(null, Buffer.from(body), privateKey)]).toString('base64')}\n`;
    },
  };
}

/** The signed text of a checkpoint: origin, size and base64 root, one per line. */
export function checkpointBody(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${Buffer.from(checkpoint.root, 'hex').toString('base64')}\n`;
}

/** Reads a checkpoint body; null when it has another form. */
export function parseCheckpointBody(body: string): Checkpoint | null {
  const lines = body.split('\n');
  const [origin, size, root] = lines;
  if (lines.length !== 4 || lines[3] !== '' || origin === undefined || origin === '' || size === undefined || root === undefined) return null;
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !/^[A-Za-z0-9+/]{43}=$/.test(root)) return null;
  return { origin, size: Number(size), root: Buffer.from(root, 'base64').toString('hex') };
}

/** Reads a vkey; null when it is malformed, of another algorithm, or its key id does not belong to it. */
export function parseVkey(vkey: string): NoteVerifier | null {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(vkey.trim());
  const bytes = Buffer.from(match?.[3] ?? '', 'base64');
  const name = match?.[1];
  if (name === undefined || bytes.length !== 33 || bytes[0] !== 1) return null;
  const raw = bytes.subarray(1);
  if (noteKeyId(name, raw).toString('hex') !== match?.[2]) return null;
  return { name, keyId: match[2], vkey: vkey.trim(), key: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' }) };
}

/** The verdict on one signed note. */
export type NoteCheck = { readonly outcome: 'valid'; readonly body: string } | { readonly outcome: 'malformed' | 'unknown-key' | 'bad-signature' };

/** Checks one C2SP signed note. Signature lines of other keys are ignored, as the format asks. */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): NoteCheck {
  const cut = note.lastIndexOf('\n\n');
  if (cut < 0 || !note.endsWith('\n')) return { outcome: 'malformed' };
  const body = note.slice(0, cut + 1);
  let known = false;
  for (const line of note.slice(cut + 2, -1).split('\n')) {
    const match = /^— (\S+) ([A-Za-z0-9+/=]+)$/.exec(line);
    if (match === null) return { outcome: 'malformed' };
    const bytes = Buffer.from(match[2] ?? '', 'base64');
    if (bytes.length < 5) return { outcome: 'malformed' };
    const verifier = verifiers.find((v) => v.name === match[1] && v.keyId === bytes.subarray(0, 4).toString('hex'));
    if (verifier === undefined) continue;
    known = true;
    if (!verify(null, Buffer.from(body), verifier.key, bytes.subarray(4))) return { outcome: 'bad-signature' };
  }
  return known ? { outcome: 'valid', body } : { outcome: 'unknown-key' };
}

/** Splits a file of notes, one after the other with an empty line between, into the notes. A torn last one is returned as it is. */
export function splitNotes(text: string): readonly string[] {
  const notes: string[] = [];
  let current: string[] = [];
  let signed = false;
  for (const line of text.split('\n')) {
    if (line === '' && signed) {
      notes.push(`${current.join('\n')}\n`);
      current = [];
      signed = false;
      continue;
    }
    signed = line.startsWith('— ');
    current.push(line);
  }
  if (current.some((line) => line !== '')) notes.push(current.join('\n'));
  return notes;
}

const ed25519Type = Buffer.of(1);

function noteKeyId(name: string, rawKey: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), ed25519Type, rawKey]), 'buffer').subarray(0, 4);
}
