import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.storage.Converter;

/**
 * Reads values as a sink of Kafka Connect gets them: by the converter that its configuration names.
 *
 * <p>Arguments: the configuration, a JSON object with the names of {@code value.converter}; a file with a value a line.
 * Prints each value as JSON.
 */
public final class ReadAsConnect {
  public static void main(String[] arguments) throws Exception {
    ObjectMapper json = new ObjectMapper();
    @SuppressWarnings("unchecked")
    Map<String, Object> told = json.readValue(arguments[0], Map.class);
    Converter converter =
        (Converter) Class.forName((String) told.remove("class")).getDeclaredConstructor().newInstance();
    converter.configure(told, false);
    for (String line : Files.readAllLines(Path.of(arguments[1]))) {
      SchemaAndValue read = converter.toConnectData("enriched", line.getBytes(StandardCharsets.UTF_8));
      System.out.println(json.writeValueAsString(read.value()));
    }
  }

  private ReadAsConnect() {}
}
