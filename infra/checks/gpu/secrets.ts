/** No secret in user data, in state or in arguments: what gives one away in a text. */

const LOOKS_SECRET: readonly (readonly [RegExp, string])[] = [
  [/\bAKIA[0-9A-Z]{16}\b/, "an AWS access key"],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----/, "a private key"],
  [/\beyJ[A-Za-z0-9_-]{16,}/, "a token"],
  [/"\d+"\s*:\s*"[^"]{16,}"/, "a map of version to secret"],
];

/** `settings` hold names of parameters, never their values. */
const SECRET_SETTING = /^(\w*(?:SECRET|TOKEN|PASSWORD|API_KEY)\w*)=/gm;

/** What is secret in a rendered document, or would be shown to every process of the machine. */
export function secretsInUserData(
  text: string,
  files: readonly { path: string; content: string }[],
): string[] {
  const looks = LOOKS_SECRET.flatMap(([pattern, what]) =>
    pattern.test(text) || files.some(({ content }) => pattern.test(content))
      ? [`user data holds ${what}`]
      : [],
  );
  const named = files
    .filter(({ path }) => path.endsWith(".env"))
    .flatMap(({ content }) => [...content.matchAll(SECRET_SETTING)].map((match) => match[1] ?? ""))
    .filter((name) => !name.endsWith("_PARAMETER"))
    .map((name) => `setting ${name} is a secret by its name: give the parameter's name instead`);
  const shown = files.flatMap(({ path, content }) =>
    content.split("\n").flatMap((line) => shownIn(line).map((what) => `${path}: ${what}`)),
  );
  return [...looks, ...named, ...shown];
}

function shownIn(line: string): string[] {
  const code = line.replace(/^\s*#.*/, "");
  return [
    ...(/(^|\s)--token(\s|=)/.test(code) ? ["a token as an argument"] : []),
    ...(/^Environment=.*(TOKEN|SECRET|PASSWORD)/i.test(code) ? ["a secret in a unit's environment"] : []),
    ...(/\bset -\w*x/.test(code) ? ["a script that prints what it does"] : []),
    ...(/--with-decryption/.test(code) && !/value=\$\(aws ssm get-parameter/.test(code)
      ? ["a decrypted value that is not kept in a variable"]
      : []),
  ];
}

/** Secrets that would enter the state: Terraform may read public parameters only, and takes no secret as a value. */
export function secretsInState(path: string, text: string): string[] {
  const read = [...text.matchAll(/^data "aws_ssm_parameter" "(\w+)" \{([\s\S]*?)^\}/gm)]
    .filter(([, , body]) => !/name\s*=\s*"\/aws\/service\//.test(body ?? ""))
    .map(([, name]) => `${path}: data.aws_ssm_parameter.${name} puts a secret into the state`);
  const others = [
    ...text.matchAll(
      /^(?:data|resource|ephemeral) "(aws_secretsmanager\w+|aws_iam_access_key|tls_private_key)"/gm,
    ),
  ].map(([, type]) => `${path}: ${type} puts a secret into the state`);
  const taken = [...text.matchAll(/^variable "(\w*(?:secret|token|password|api_key)\w*)"/gm)]
    .map(([, name]) => name ?? "")
    .filter((name) => !name.endsWith("_parameter"))
    .map((name) => `${path}: variable ${name} takes a secret: take the name of its parameter`);
  return [...read, ...others, ...taken];
}
