/** Largest SFTP packet that passes, its length field not counted: 256 KiB of data, as OpenSSH's own limit, and 1 KiB for what stands around them. */
export const maxSftpPacketBytes: number = 256 * 1024 + 1024;

/** What came out of one chunk. With a problem the stream cannot be read any further. */
export interface SplitPackets {
  /** Whole packets in order, each with its four length bytes; views of the chunk where it held the whole packet. */
  readonly packets: readonly Uint8Array[];
  readonly problem: 'PacketTooLong' | 'PacketEmpty' | null;
}

/** Cuts a byte stream into packets. */
export interface PacketSplitter {
  push(chunk: Uint8Array): SplitPackets;
  /** True in the middle of a packet: an end here cut it. */
  readonly isInside: () => boolean;
}

const lengthBytes = 4;

/**
 * Cuts a stream of `uint32 length, byte[length]` packets, as SFTP and the agent protocol send them, however the chunks fall.
 *
 * The length is checked before anything is allocated; a packet that several chunks bring is put together in one buffer of its exact size.
 */
export function createPacketSplitter(limitBytes: number): PacketSplitter {
  const header = new Uint8Array(lengthBytes);
  let headerFilled = 0;
  let packet: Uint8Array | null = null;
  let filled = 0;
  let problem: SplitPackets['problem'] = null;
  const lengthProblem = (length: number): SplitPackets['problem'] => (length === 0 ? 'PacketEmpty' : length > limitBytes ? 'PacketTooLong' : null);

  return {
    isInside: () => packet !== null || headerFilled > 0,
    push(chunk) {
      const packets: Uint8Array[] = [];
      let at = 0;
      while (at < chunk.length && problem === null) {
        if (packet !== null) {
          const part = chunk.subarray(at, at + packet.length - filled);
          packet.set(part, filled);
          filled += part.length;
          at += part.length;
          if (filled < packet.length) break;
          packets.push(packet);
          packet = null;
          continue;
        }
        if (headerFilled === 0 && chunk.length - at >= lengthBytes) {
          const length = readLength(chunk, at);
          problem = lengthProblem(length);
          if (problem !== null) break;
          const end = at + lengthBytes + length;
          if (end <= chunk.length) {
            packets.push(chunk.subarray(at, end));
            at = end;
            continue;
          }
        }
        const part = chunk.subarray(at, at + lengthBytes - headerFilled);
        header.set(part, headerFilled);
        headerFilled += part.length;
        at += part.length;
        if (headerFilled < lengthBytes) break;
        headerFilled = 0;
        const length = readLength(header, 0);
        problem = lengthProblem(length);
        if (problem !== null) break;
        packet = new Uint8Array(lengthBytes + length);
        packet.set(header);
        filled = lengthBytes;
      }
      return { packets, problem };
    },
  };
}

function readLength(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}
