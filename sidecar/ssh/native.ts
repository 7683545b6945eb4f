import { createRequire } from 'node:module';

/** Marker that our patch of ssh2 exports; its value changes with the patch (tools/native/ssh2-1.17.0.patch). */
const patchLevel = 'sallyport-1';

/**
 * Why SSH cannot be served by this installation, or null: ssh2 must bear our patch, and its native parts must load. Without them it would go on, slowly and with known faults.
 */
export function nativeProblem(load: (module: string) => unknown = createRequire(import.meta.url)): string | null {
  const patched = attempt(() => (load('ssh2') as { readonly sallyportPatch?: unknown }).sallyportPatch);
  if (patched.error !== null) return `ssh2 does not load: ${patched.error}`;
  if (patched.value !== patchLevel) return `ssh2 bears ${patched.value === undefined ? 'no patch' : 'another patch'}: run make setup`;
  const binding = attempt(() => (load('ssh2/lib/protocol/crypto.js') as { readonly bindingAvailable?: unknown }).bindingAvailable);
  if (binding.value !== true) return 'the native part of ssh2 is not built for this Node: run make setup on a machine with a C++ compiler, make and python3';
  const features = attempt(() => typeof (load('cpu-features') as () => unknown)());
  return features.error === null ? null : 'cpu-features is not built for this Node: run make setup on a machine with a C++ compiler, make and python3';
}

function attempt(read: () => unknown): { readonly value: unknown; readonly error: string | null } {
  try {
    return { value: read(), error: null };
  } catch (error) {
    return { value: undefined, error: error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'no error' };
  }
}
