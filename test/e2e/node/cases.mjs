// SPDX-License-Identifier: Apache-2.0
// Runs the cases named on the command line ("name" or "name:argument:argument"), all at the same
// time, and prints what each gave as one JSON object. A case that throws is told as {"thrown": ...}.

export async function settle(fn, judge) {
  try {
    return { value: await fn(), error: null };
  } catch (e) {
    return judge(e);
  }
}

export async function run(cases, words) {
  const found = {};
  await Promise.all(words.map(async (word) => {
    const [name, ...rest] = word.split(':');
    try {
      found[word] = await cases[name](...rest);
    } catch (e) {
      found[word] = { thrown: `${e.stack ?? e}` };
    }
  }));
  process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0));
}
