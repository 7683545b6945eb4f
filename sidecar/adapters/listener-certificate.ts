import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

/**
 * The certificate that the listeners show, read again when its files change, so that a renewed one is used without a restart.
 *
 * A pair that does not fit keeps the last good one.
 * @throws Error at the first reading when the files are missing or do not fit together.
 */
export function listenerCertificate(certificateFile: string, keyFile: string, onProblem: (error: Error) => void): { secureContext(): SecureContext } {
  let stamp = stampOf(certificateFile, keyFile);
  let context = read(certificateFile, keyFile);
  return {
    secureContext: () => {
      try {
        const now = stampOf(certificateFile, keyFile);
        if (now !== stamp) {
          stamp = now;
          context = read(certificateFile, keyFile);
        }
      } catch (error) {
        onProblem(error instanceof Error ? error : new Error(String(error)));
      }
      return context;
    },
  };
}

function read(certificateFile: string, keyFile: string): SecureContext {
  return createSecureContext({ cert: readFileSync(certificateFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' });
}

function stampOf(...files: readonly string[]): string {
  return files.map((file) => { const { mtimeMs, size, ino } = statSync(file); return `${mtimeMs} ${size} ${ino}`; }).join('|');
}
