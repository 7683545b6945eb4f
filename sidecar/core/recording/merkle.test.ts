import { describe, expect, test } from '@jest/globals';
import { checkpointBody, createSigner, openNote, parseCheckpointBody, parseVkey, splitNotes } from './checkpoint.ts';
import { consistencyProof, inclusionProof, leafHash, MerkleTree, nodeHash, rootOf, verifyConsistency, verifyInclusion } from './merkle.ts';

const vectorLeaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) => leafHash(Buffer.from(hex, 'hex')));

describe('the tree of RFC 6962', () => {
  test.each([
    [0, 'e3b0c442', '7852b855'], [1, '6e340b9c', '17afa01d'], [3, 'aeb6bcfe', '29e06e77'], [7, 'ddb89be4', '94a74c8c'], [8, '5dc9da79', 'f4604328'],
  ])('has the published root for the first %i leaves', (size, head, tail) => {
    const root = rootOf(vectorLeaves, 0, size);
    expect([root.slice(0, 8), root.slice(-8)]).toEqual([head, tail]);
  });

  test('grows to the same root as a tree built at once, at every size', () => {
    const hashes = Array.from({ length: 258 }, (_, n) => nodeHash('00'.repeat(32), n.toString(16).padStart(64, '0')));
    const leaves = hashes.map((h) => leafHash(Buffer.from(h, 'hex')));
    const tree = new MerkleTree();
    const grown = hashes.map((h) => {
      tree.append(h);
      return tree.root();
    });
    expect(grown).toEqual(hashes.map((_, n) => rootOf(leaves, 0, n + 1)));
  });

  test.each([1, 2, 3, 4, 5, 7, 8, 255, 256, 257])('proves inclusion of every leaf and consistency of every prefix at size %i, and of nothing else', (size) => {
    const leaves = Array.from({ length: size }, (_, n) => leafHash(Buffer.from([n % 256, n >> 8])));
    const root = rootOf(leaves);
    const other = leafHash(Buffer.from('other'));
    for (const index of new Set([0, 1, size >> 1, size - 2, size - 1].filter((n) => n >= 0 && n < size))) {
      const proof = inclusionProof(leaves, index, size);
      expect(verifyInclusion(leaves[index] ?? '', index, size, proof, root)).toBe(true);
      expect(verifyInclusion(other, index, size, proof, root)).toBe(false);
      expect(verifyInclusion(leaves[index] ?? '', index, size, [...proof, other], root)).toBe(false);
      if (index > 0) expect(verifyInclusion(leaves[index] ?? '', index - 1, size, proof, root)).toBe(false);
    }
    for (const first of new Set([1, 2, size >> 1, size - 1, size].filter((n) => n >= 1 && n <= size))) {
      const proof = consistencyProof(leaves, first, size);
      expect(verifyConsistency(first, rootOf(leaves, 0, first), size, root, proof)).toBe(true);
      expect(verifyConsistency(first, other, size, root, proof)).toBe(false);
      expect(verifyConsistency(first, rootOf(leaves, 0, first), size, other, proof)).toBe(false);
    }
  });
});

test('a log of any size up to 24 is consistent with each of its prefixes, and with no proof that was cut or made longer', () => {
  const leaves = Array.from({ length: 24 }, (_, n) => leafHash(Buffer.from([n])));
  for (let size = 1; size <= leaves.length; size++) {
    const root = rootOf(leaves, 0, size);
    for (let first = 1; first <= size; first++) {
      const proof = consistencyProof(leaves.slice(0, size), first, size);
      const old = rootOf(leaves, 0, first);
      expect(verifyConsistency(first, old, size, root, proof)).toBe(true);
      expect(verifyConsistency(first, old, size, root, [...proof, root])).toBe(false);
      if (proof.length > 0) expect(verifyConsistency(first, old, size, root, proof.slice(1))).toBe(false);
    }
  }
});

describe('signed notes', () => {
  test('of another implementation are accepted, and refused after one changed letter', () => {
    const verifier = parseVkey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
    const body = 'If you think cryptography is the answer to your problem,\nthen you don\'t know what your problem is.\n';
    const note = `${body}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;
    expect(openNote(note, verifier === null ? [] : [verifier])).toEqual({ outcome: 'valid', body });
    expect(openNote(note.replace('answer', 'Answer'), verifier === null ? [] : [verifier])).toEqual({ outcome: 'bad-signature' });
  });

  test('carry a checkpoint that only the log\'s own key opens', () => {
    const signer = createSigner('local/ns/01LOG');
    const root = 'ab'.repeat(32);
    const note = signer.sign(42, root);
    const own = parseVkey(signer.vkey);
    const foreign = parseVkey(createSigner('local/ns/01LOG').vkey);
    const opened = openNote(note, own === null ? [] : [own]);
    expect(opened.outcome === 'valid' ? parseCheckpointBody(opened.body) : null).toEqual({ origin: 'local/ns/01LOG', size: 42, root });
    expect(openNote(note, foreign === null ? [] : [foreign]).outcome).toBe('unknown-key');
  });

  test('stand one after the other in a file, the torn last one included', () => {
    const signer = createSigner('o/n/1');
    const notes = [signer.sign(1, '11'.repeat(32)), signer.sign(2, '22'.repeat(32))];
    expect(splitNotes(`${notes[0]}\n${notes[1]}\n${checkpointBody({ origin: 'o/n/1', size: 3, root: '33'.repeat(32) })}`).slice(0, 2)).toEqual(notes);
  });

  test('with a key id that does not belong to the key are refused', () => {
    expect(parseVkey('PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')).toBeNull();
  });
});
