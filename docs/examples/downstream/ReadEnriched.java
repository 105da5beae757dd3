import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BadHeaderException;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.MissingSchemaException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads enriched contacts that are Avro single objects, which they are without a schema registry.
 *
 * <p>Arguments: brokers, topic, EnrichedContact.avsc, and older versions of it that are still in the topic. Each file is
 * printed by {@code enricher schema show}. It needs org.apache.avro:avro and org.apache.kafka:kafka-clients.
 */
public final class ReadEnriched {
  public static void main(String[] arguments) throws IOException {
    Schema schema = new Schema.Parser().parse(new File(arguments[2]));
    BinaryMessageDecoder<GenericRecord> decoder = new BinaryMessageDecoder<>(GenericData.get(), schema);
    for (int index = 3; index < arguments.length; index++) {
      decoder.addSchema(new Schema.Parser().parse(new File(arguments[index])));
    }
    Map<String, Object> properties =
        Map.of(
            "bootstrap.servers", arguments[0],
            "group.id", "campaigns",
            "auto.offset.reset", "earliest",
            "isolation.level", "read_committed");
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(arguments[1]));
      while (true) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          try {
            show(decoder.decode(record.value()));
          } catch (BadHeaderException | MissingSchemaException error) {
            System.out.printf("skipped %s[%d]@%d: %s%n", record.topic(), record.partition(), record.offset(), error);
          }
        }
      }
    }
  }

  private static void show(GenericRecord event) {
    GenericRecord contact = (GenericRecord) event.get("contact");
    GenericRecord history = (GenericRecord) event.get("offerHistory");
    GenericRecord enrichment = (GenericRecord) event.get("enrichment");
    if (enrichment.get("status").toString().equals("UNAVAILABLE")) {
      return; // the service was down; that is not the same as a customer without offers
    }
    List<String> accepted = new ArrayList<>();
    for (Object each : (List<?>) history.get("offers")) {
      GenericRecord offer = (GenericRecord) each;
      if (offer.get("outcome").toString().equals("Accepted")) {
        accepted.add(offer.get("name").toString());
      }
    }
    Instant time = Instant.ofEpochMilli((Long) contact.get("contactTime"));
    System.out.println(contact.get("eventId") + " " + time + " " + accepted);
  }

  private ReadEnriched() {}
}
