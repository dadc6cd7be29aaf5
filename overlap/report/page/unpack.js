// The other half of packing.py: columns of unsigned codes, 0 for an absent value, low bytes before high ones.
const loaded = new Map();

// The table of that name, unpacked once; null where the page carries none.
function load(name) {
  if (!loaded.has(name)) {
    const held = document.getElementById(`table-${name}`);
    loaded.set(name, held ? unpack(name, held.textContent) : Promise.resolve(null));
  }
  return loaded.get(name);
}

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
  return bytes;
}

async function unpack(name, text) {
  const stream = new Blob([bytesOf(text.trim())]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  let at = 4 + new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, at - 4)));
  const columns = head.columns.map((about) => {
    const body = new Uint8Array(buffer, at, about.width * head.rows);
    at += body.length;
    return made(about, body, head.rows);
  });
  return table({ ...head, name, columns });
}

function table(about) {
  const named = new Map(about.columns.map((column) => [column.name, column]));
  return { whole: about.rows, kept: "", left_out: [], sort: "", ...about, column: (name) => named.get(name) ?? null };
}

function made(about, body, rows) {
  const { width, kind } = about;
  if (width === 8) {
    const codes = new Float64Array(body.slice().buffer);
    const absent = (row) => Number.isNaN(codes[row]);
    return { ...about, codes, absent, value: (row) => (absent(row) ? null : codes[row]) };
  }
  const codes = width === 1 ? body : width === 2 ? new Uint16Array(rows) : new Uint32Array(rows);
  if (width > 1) for (let row = 0; row < rows; row++) {
    let code = body[row] + body[rows + row] * 256;
    if (width === 4) code += body[2 * rows + row] * 65536 + body[3 * rows + row] * 16777216;
    codes[row] = code;
  }
  const absent = (row) => codes[row] === 0;
  const { words, offset, scale } = about;
  const value = kind === "text" ? (row) => (codes[row] ? words[codes[row] - 1] : null)
    : kind === "flag" ? (row) => (codes[row] ? codes[row] - 1 + offset === 1 : null)
    : (row) => (codes[row] ? (codes[row] - 1 + offset) / scale : null);
  return { ...about, codes, absent, value };
}

// A column of values that are already numbers or texts, for tables the page makes itself.
function columnOf(name, kind, values, meaning = "") {
  if (kind !== "text") {
    const codes = Float64Array.from(values, (one) => (one === null ? NaN : one));
    return { name, kind, meaning, codes, absent: (row) => Number.isNaN(codes[row]), value: (row) => values[row] };
  }
  const words = [...new Set(values.filter((one) => one !== null))].sort((a, b) => (a < b ? -1 : 1));
  const places = new Map(words.map((word, place) => [word, place + 1]));
  const codes = Uint32Array.from(values, (one) => places.get(one) ?? 0);
  return { name, kind, meaning, words, codes, absent: (row) => codes[row] === 0, value: (row) => values[row] };
}

// Rows by pair and rows by model of a table, found once.
const indices = new WeakMap();
function pairRows(held, one, other) {
  const [a, b] = one < other ? [one, other] : [other, one];
  const [first, second] = [held.column("model_a"), held.column("model_b")];
  if (!indices.has(held)) {
    const index = new Map();
    const size = second.words.length + 1;
    for (let row = 0; row < held.rows; row++) {
      const key = first.codes[row] * size + second.codes[row];
      if (index.has(key)) index.get(key).push(row); else index.set(key, [row]);
    }
    indices.set(held, index);
  }
  const code = (column, word) => column.words.indexOf(word) + 1;
  for (const [x, y] of [[a, b], [b, a]]) {
    const rows = indices.get(held).get(code(first, x) * (second.words.length + 1) + code(second, y));
    if (rows && code(first, x) && code(second, y)) return rows;
  }
  return [];
}

function rowsWhere(held, name, word) {
  const column = held.column(name);
  const code = column.words.indexOf(word) + 1;
  const rows = [];
  if (code) for (let row = 0; row < held.rows; row++) if (column.codes[row] === code) rows.push(row);
  return rows;
}
