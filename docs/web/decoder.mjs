// Reads tokens one after another through a step graph of a bundle, in a browser or in Node, and holds the cache.
// It does what lob_jax/export/decoder.py does; `ort` is onnxruntime-web.

const MORE_SLOTS = 128; // a cache grows by so many slots
const WIDTHS = { clock: 2 }; // of what the slots of a cache hold besides keys and values; 1 for the others
const ARRAYS = { int16: Int16Array, int32: Int32Array, float32: Float32Array };

const size = (dims) => dims.reduce((product, dim) => product * dim, 1);

export class Decoder {
  // `model` is the entry "model" of the bundle's model.json.
  constructor(ort, session, model) {
    Object.assign(this, { ort, session, model });
    this.types = Object.fromEntries(session.inputMetadata.map((input) => [input.name, input.type]));
  }

  static async open(ort, graph, model) {
    return new Decoder(ort, await ort.InferenceSession.create(graph), model);
  }

  // Begins with an empty context for a number of sequences.
  reset(rows) {
    Object.assign(this, { rows, length: 0, slots: Math.min(MORE_SLOTS, this.model.max_seq_length), held: {} });
    for (const name of this.session.inputNames.filter((name) => name.startsWith("cache_") && name !== "cache_length")) {
      this.held[name] = new ARRAYS[this.types[name]](size(this.#dims(name)));
    }
  }

  // Reads new tokens: `inputs` are arrays [rows, count, ...] by name, flat. Returns the logits after the last one.
  async extend(inputs) {
    const count = inputs.tokens.length / this.rows;
    this.#makeRoom(count);
    const feeds = { cache_length: new this.ort.Tensor("int32", new Int32Array(this.rows).fill(this.length), [this.rows]) };
    for (const [name, array] of Object.entries(this.held)) {
      feeds[name] = new this.ort.Tensor(this.types[name], array, this.#dims(name));
    }
    for (const [name, array] of Object.entries(inputs).filter(([name]) => name in this.types)) {
      const width = array.length / (this.rows * count);
      const dims = width === 1 && name !== "book" ? [this.rows, count] : [this.rows, count, width];
      feeds[name] = new this.ort.Tensor(this.types[name], ARRAYS[this.types[name]].from(array), dims);
    }
    const found = await this.session.run(feeds);
    this.#keep(inputs, found, count);
    this.length += count;
    return found.logits.data;
  }

  #isLayer(name) {
    return name.startsWith("cache_keys") || name.startsWith("cache_values");
  }

  #dims(name, slots = this.slots) {
    const { n_heads: heads, d_model: width, head_size: given } = this.model;
    if (this.#isLayer(name)) return [this.rows, heads, slots, given || width / heads];
    const more = WIDTHS[name.slice("cache_".length)];
    return more ? [this.rows, slots, more] : [this.rows, slots];
  }

  #makeRoom(count) {
    const wanted = Math.min(Math.ceil((this.length + count) / MORE_SLOTS) * MORE_SLOTS, this.model.max_seq_length);
    if (wanted <= this.slots) return;
    for (const [name, array] of Object.entries(this.held)) {
      const groups = this.#isLayer(name) ? this.rows * this.model.n_heads : this.rows;
      const longer = new array.constructor(size(this.#dims(name, wanted)));
      const [before, after] = [array.length / groups, longer.length / groups];
      for (let group = 0; group < groups; group++) {
        longer.set(array.subarray(group * before, (group + 1) * before), group * after);
      }
      this.held[name] = longer;
    }
    this.slots = wanted;
  }

  // Writes what was read into the next slots.
  #keep(inputs, found, count) {
    const first = this.length % this.slots;
    for (const [name, array] of Object.entries(this.held)) {
      const kind = name.slice("cache_".length);
      const isLayer = this.#isLayer(name);
      const groups = isLayer ? this.rows * this.model.n_heads : this.rows;
      const width = array.length / (groups * this.slots);
      for (let group = 0; group < groups; group++) {
        for (let token = 0; token < count; token++) {
          const from = (group * count + token) * width;
          for (let part = 0; part < width; part++) {
            const value = kind === "position" ? this.length + token : (isLayer ? found[kind].data : inputs[kind])[from + part];
            array[(group * this.slots + first + token) * width + part] = value;
          }
        }
      }
    }
  }
}

// The likeliest token of each row, from logits [rows, V].
export function likeliest(logits, rows) {
  const vocabulary = logits.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    return own.reduce((best, value, token) => (value > own[best] ? token : best), 0);
  });
}
