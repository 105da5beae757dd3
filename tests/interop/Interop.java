import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;

/**
 * Reads values as the reference implementation does, and writes each again: its own bytes, and the value as JSON.
 *
 * <p>Arguments: schema, input, output. Input: for each value one byte (how many bytes of framing stand before the body),
 * a length, the bytes. Ten bytes of framing are Avro's single-object encoding, which the library reads by itself; five
 * are a schema registry's id; none, when the id is in a header. Output: the same, with the length and bytes of the JSON
 * behind each value.
 */
public final class Interop {
  public static void main(String[] arguments) throws Exception {
    Schema schema = new Schema.Parser().parse(new File(arguments[0]));
    BinaryMessageDecoder<GenericRecord> single = new BinaryMessageDecoder<>(new GenericData(), schema);
    BinaryMessageEncoder<GenericRecord> singleOut = new BinaryMessageEncoder<>(new GenericData(), schema);
    GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema);
    GenericDatumWriter<GenericRecord> writer = new GenericDatumWriter<>(schema);
    try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(arguments[1])));
        DataOutputStream out =
            new DataOutputStream(new BufferedOutputStream(new FileOutputStream(arguments[2])))) {
      int framing;
      while ((framing = in.read()) >= 0) {
        byte[] data = new byte[in.readInt()];
        in.readFully(data);
        GenericRecord value;
        byte[] written;
        if (framing == 10) {
          value = single.decode(data);
          ByteBuffer encoded = singleOut.encode(value);
          written = new byte[encoded.remaining()];
          encoded.get(written);
        } else {
          BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(data, framing, data.length - framing, null);
          value = reader.read(null, decoder);
          if (!decoder.isEnd()) {
            throw new IllegalStateException("bytes are left behind a value");
          }
          ByteArrayOutputStream bytes = new ByteArrayOutputStream();
          bytes.write(data, 0, framing);
          BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
          writer.write(value, encoder);
          encoder.flush();
          written = bytes.toByteArray();
        }
        byte[] json = value.toString().getBytes(StandardCharsets.UTF_8);
        out.writeByte(framing);
        out.writeInt(written.length);
        out.write(written);
        out.writeInt(json.length);
        out.write(json);
      }
    }
  }

  private Interop() {}
}
