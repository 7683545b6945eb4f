import ssh2, { type AnyAuthMethod, type ParsedKey } from 'ssh2';

import { SallyportError } from '../core/errors.ts';
import { SshReader } from '../core/identity/ssh-wire.ts';
import type { SecretSource } from '../core/ports.ts';

/** What the gateway logs in to a target with. Never in a log, a record or an error. */
export type TargetCredential =
  | { readonly form: 'Key'; readonly key: ParsedKey & { /** The certificate's blob. */ readonly certificate?: Buffer } }
  | { readonly form: 'Password'; readonly password: string };

/**
 * Reads a target's credential: exactly one of `privateKey` [+ `passphrase`], `privateKey` + `certificate` [+ `passphrase`], `password`.
 *
 * @throws SallyportError `SECRET_UNAVAILABLE`, for two forms, a key that cannot be read, or a certificate of another key too.
 */
export async function readTargetCredential(secret: string, secrets: SecretSource): Promise<TargetCredential> {
  const [privateKey, passphrase, certificate, password] = await Promise.all(['privateKey', 'passphrase', 'certificate', 'password'].map((key) => readText(secret, key, secrets)));
  const invalid = (reason: string): SallyportError => new SallyportError('SECRET_UNAVAILABLE', { secret, reason });
  if ((privateKey === null) === (password === null)) throw invalid('exactly one of privateKey and password is needed');
  if (typeof password === 'string') {
    if ((certificate ?? passphrase ?? null) !== null) throw invalid('a password stands alone');
    return { form: 'Password', password: password.replace(/\r?\n$/, '') };
  }
  const key = ssh2.utils.parseKey(privateKey ?? '', passphrase?.replace(/\r?\n$/, ''));
  // Its message could quote the Secret.
  if (key instanceof Error || !key.isPrivateKey()) throw invalid('privateKey cannot be read, or its passphrase is another one');
  if (typeof certificate !== 'string') return { form: 'Key', key };
  const blob = readCertificate(certificate, key);
  if (blob === null) throw invalid('certificate is not an OpenSSH certificate of privateKey');
  // Our patch of ssh2 logs in with it in place of the public key.
  return { form: 'Key', key: Object.assign(key, { certificate: blob }) };
}

/**
 * The one login that a dial makes, as ssh2 asks for it; after a failure it answers that nothing is left.
 *
 * A password goes by the method that the server names: asking which costs a `none`, which sshd does not count. Of keyboard-interactive exactly one question is answered, if its answer is not shown.
 */
export function singleLogin(account: string, credential: TargetCredential, giveUp: () => void): (methodsLeft: readonly string[] | null) => AnyAuthMethod | false {
  let asked = false;
  let tried = false;
  return (methodsLeft) => {
    if (tried) return false;
    if (credential.form === 'Key') {
      tried = true;
      return { type: 'publickey', username: account, key: credential.key };
    }
    if (!asked) {
      asked = true;
      return { type: 'none', username: account };
    }
    tried = true;
    if (methodsLeft?.includes('password')) return { type: 'password', username: account, password: credential.password };
    if (methodsLeft?.includes('keyboard-interactive')) return { type: 'keyboard-interactive', username: account, prompt: answerOnce(credential.password, giveUp) };
    return false;
  };
}

type Prompt = (name: string, instructions: string, language: string, prompts: readonly { readonly echo?: boolean }[], answer: (answers: string[]) => void) => void;

function answerOnce(password: string, giveUp: () => void): Prompt {
  let answered = false;
  return (_name, _instructions, _language, prompts, answer) => {
    if (answered || prompts.length !== 1 || prompts[0]?.echo === true) return giveUp();
    answered = true;
    answer([password]);
  };
}

async function readText(secret: string, key: string, secrets: SecretSource): Promise<string | null> {
  const bytes = await secrets.readOptional(secret, key);
  return bytes === null || bytes.length === 0 ? null : Buffer.from(bytes).toString('utf8');
}

/** `TYPE BASE64 [COMMENT]`: the certificate's key must be the public half of `key`. Null: it is not. */
function readCertificate(line: string, key: ParsedKey): Buffer | null {
  const [type = '', base64 = ''] = line.trim().split(/\s+/);
  const blob = Buffer.from(base64, 'base64');
  const [certified, plain] = [new SshReader(blob), new SshReader(key.getPublicSSH())];
  if (type !== `${key.type}${certificateSuffix}` || certified.text() !== type || plain.text() !== key.type) return null;
  certified.string(); // nonce
  while (plain.hasMore) if (Buffer.compare(plain.string(), certified.string()) !== 0) return null;
  return certified.hasMore ? blob : null;
}

const certificateSuffix = '-cert-v01@openssh.com';
