import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

/**
 * The certificate that the listeners show, read again when its files change, so that a renewed one is used without a restart.
 *
 * A pair that does not fit keeps the last good one. `expiresAtMs` is the end of the one in use.
 * @throws Error at the first reading when the files are missing or do not fit together.
 */
export function listenerCertificate(certificateFile: string, keyFile: string, onProblem: (error: Error) => void): { secureContext(): SecureContext; expiresAtMs(): number } {
  let stamp = stampOf(certificateFile, keyFile);
  let pair = read(certificateFile, keyFile);
  const current = (): typeof pair => {
    try {
      const now = stampOf(certificateFile, keyFile);
      if (now !== stamp) {
        stamp = now;
        pair = read(certificateFile, keyFile);
      }
    } catch (error) {
      onProblem(error instanceof Error ? error : new Error(String(error)));
    }
    return pair;
  };
  return { secureContext: () => current().context, expiresAtMs: () => current().expiresAtMs };
}

function read(certificateFile: string, keyFile: string): { readonly context: SecureContext; readonly expiresAtMs: number } {
  const cert = readFileSync(certificateFile);
  return { context: createSecureContext({ cert, key: readFileSync(keyFile), minVersion: 'TLSv1.2' }), expiresAtMs: Date.parse(new X509Certificate(cert).validTo) };
}

function stampOf(...files: readonly string[]): string {
  return files.map((file) => { const { mtimeMs, size, ino } = statSync(file); return `${mtimeMs} ${size} ${ino}`; }).join('|');
}
