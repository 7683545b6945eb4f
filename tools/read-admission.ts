import { readdir, readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import type { AdmissionObject } from '../contract/api/expected-admission.ts';

/** crds/admission/*.yaml, each one policy with its binding, with the defaults that the API server fills in; by file name. @param root the repository. */
export async function readAdmission(root: URL): Promise<readonly AdmissionObject[]> {
  const folder = new URL('crds/admission/', root);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml')).toSorted();
  return Promise.all(files.map(async (file) => admissionObject(await readFile(new URL(file, folder), 'utf8'), file)));
}

/**
 * One policy and its binding from the text of a file.
 *
 * @throws Error when the file holds anything else, when the binding is narrowed, or when a message does not begin with the id of its rule.
 */
export function admissionObject(text: string, file: string): AdmissionObject {
  const [policy, binding, ...rest] = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  if (policy?.kind !== 'ValidatingAdmissionPolicy' || binding?.kind !== 'ValidatingAdmissionPolicyBinding' || rest.length > 0) throw new Error(`${file}: expected one policy and its binding`);
  const { name } = policy.metadata;
  if (file !== `${name.replace(/\.sallyport\.dev$/, '')}.yaml` || binding.metadata.name !== name) throw new Error(`${file}: policy, binding and file bear one name`);
  if (Object.keys(binding.spec).toSorted().join() !== 'policyName,validationActions' || binding.spec['policyName'] !== name) throw new Error(`${file}: the binding binds its policy everywhere, without parameters`);
  return { name, rules: policy.spec.validations.map(({ message }) => ruleId(message, file)), policySpec: withDefaults(policy.spec), bindingSpec: binding.spec };
}

interface Manifest { readonly kind: string; readonly metadata: { readonly name: string }; readonly spec: PolicySpec & Readonly<Record<string, unknown>> }
interface PolicySpec { readonly matchConstraints: Readonly<Record<string, unknown>>; readonly validations: readonly { readonly message: string }[] }

function ruleId(message: string, file: string): string {
  const id = /^([a-z][a-z0-9-]*): /.exec(message)?.[1];
  if (id === undefined) throw new Error(`${file}: a message begins with the id of its rule and a colon: ${message}`);
  return id;
}

/** @see k8s.io/kubernetes, pkg/apis/admissionregistration/v1/defaults.go; what is not stated in our files is only this. */
function withDefaults(spec: PolicySpec): AdmissionObject['policySpec'] {
  return { ...spec, matchConstraints: { ...spec.matchConstraints, namespaceSelector: {}, objectSelector: {} } };
}
