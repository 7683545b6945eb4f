import { SallyportError } from '../../sidecar/core/errors.ts';
import { clientLimits } from '../../sidecar/postgres/client-messages.ts';
import { serverLimits } from '../../sidecar/postgres/server-messages.ts';
import { parseStartupMessage } from '../../sidecar/postgres/startup-message.ts';
import { readStartupParameters } from '../../sidecar/postgres/startup-parameters.ts';
import { readBind } from '../../sidecar/postgres/wire/bind.ts';
import { readErrorFields } from '../../sidecar/postgres/wire/error-response.ts';
import { FrameReader } from '../../sidecar/postgres/wire/frame-reader.ts';
import { readExecute, readNamed } from '../../sidecar/postgres/wire/named.ts';
import { readParse } from '../../sidecar/postgres/wire/parse.ts';
import { readRowDescription } from '../../sidecar/postgres/wire/row-description.ts';
import { hostileBackendFrame, hostileFrontendFrame, hostileStartup } from './hostile-bytes.ts';
import type { Random } from './random.ts';

const limits = { statementBytes: 256 * 1024, bindBytes: 16 * 1024 * 1024 };

/** One hostile startup packet through the pure readers. Throws when a reader does anything but answer or refuse. */
export function tryStartup(random: Random): void {
  const packet = hostileStartup(random);
  // The packet reader hands over no body shorter than a version.
  if (packet.length < 8) return;
  const parsed = parseStartupMessage(packet.subarray(4));
  if (parsed.outcome === 'parsed') readStartupParameters(parsed.message.pairs);
}

/** A few hostile frames, in random pieces, through reader and decoders of one side. @returns frames tried. */
export function tryFrames(random: Random, side: 'client' | 'server'): number {
  const reader = new FrameReader(side === 'client' ? clientLimits(limits) : serverLimits);
  const frames = Array.from({ length: 1 + random.int(6) }, () => (side === 'client' ? hostileFrontendFrame(random) : hostileBackendFrame(random)));
  const bytes = Buffer.concat(frames);
  try {
    for (let at = 0; at < bytes.length; ) {
      const end = random.chance(0.5) ? bytes.length : Math.min(bytes.length, at + 1 + random.int(40));
      reader.feed(bytes.subarray(at, end));
      at = end;
      for (let steps = 0; reader.next(); steps++) {
        if (steps > 1_000) throw new Error('the reader does not come to an end');
        if (reader.whole) decode(reader, side);
      }
    }
  } catch (error) {
    // A broken peer is refused by a typed error; anything else is a finding.
    if (!(error instanceof SallyportError)) throw error;
  }
  return frames.length;
}

function decode({ type, buffer, start, end }: FrameReader, side: 'client' | 'server'): void {
  switch (`${side} ${String.fromCharCode(type)}`) {
    case 'client P': readParse(buffer, start, end); break;
    case 'client B': readBind(buffer, start, end); break;
    case 'client D': case 'client C': readNamed(buffer, start, end); break;
    case 'client E': readExecute(buffer, start, end); break;
    case 'server T': readRowDescription(buffer, start, end); break;
    case 'server E': case 'server N': readErrorFields(buffer.subarray(start + 5, end)); break;
    default: break;
  }
}
