// Answers one batch by a session of onnxruntime's JavaScript, in node and in a browser.

/** The values of an output, as bytes, for the bytes of a .npy file of uint8 or float32. */
export async function answer(ort, session, output, npy) {
  const start = 10 + npy[8] + 256 * npy[9]; // of the values, behind the head of format 1.0
  const head = new TextDecoder("latin1").decode(npy.subarray(10, start));
  const shape = JSON.parse(`[${head.match(/'shape': \((.*)\)/)[1]}]`);
  const values = new Uint8Array(npy.subarray(start)); // a copy, which begins at a multiple of 4 bytes
  const batch = head.includes("u1")
    ? new ort.Tensor("uint8", values, shape)
    : new ort.Tensor("float32", new Float32Array(values.buffer), shape);
  const { data } = (await session.run({ [session.inputNames[0]]: batch }, [output]))[output];
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
