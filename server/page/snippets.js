// The request of an answer as a program, and the answer as JSON: { text, advice }.
import { root } from "./api.js";
import { key } from "./lock.js";

const address = (path) => `${location.origin}${root}${path}`;
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`; // for a shell
const keyAdvice = () => (key() ? "Export your key as KEY." : ""); // the key itself is not copied

export const SNIPPETS = {
  curl: ({ image, name, path }) => ({
    text: (image.example ? `curl -o ${quote(name)} ${quote(address(image.example))}\n` : "")
      + `curl ${key() ? '-H "Authorization: Bearer $KEY" ' : ""}--data-binary @${quote(name)} ${quote(address(path))}`,
    advice: keyAdvice(),
  }),
  python: ({ image, name, path }) => ({
    text: `import json${key() ? ", os" : ""}, urllib.request

with ${image.example ? `urllib.request.urlopen("${address(image.example)}")` : `open(${JSON.stringify(name)}, "rb")`} as image:
    request = urllib.request.Request("${address(path)}", image.read())
${key() ? 'request.add_header("Authorization", f"Bearer {os.environ[\'KEY\']}")\n' : ""}with urllib.request.urlopen(request) as reply:
    answer = json.load(reply)
for guess in answer["top"]:
    print(guess["label"], guess["probability"])`,
    advice: keyAdvice(),
  }),
  json: ({ reply }) => ({ text: JSON.stringify(reply, null, 1), advice: "" }),
};
