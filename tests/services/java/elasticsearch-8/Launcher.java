import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/** Starts one Elasticsearch 8 node from settings given as name=value; path.home must be among them. */
public final class Launcher {
    public static void main(String[] arguments) throws Exception {
        LogConfigurator.configureESLogging();
        Settings.Builder given = Settings.builder();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            given.put(pair[0], pair[1]);
        }
        Settings settings = given.build();
        Path config = Path.of(settings.get("path.home"), "config");
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "sluice-test");
        LogConfigurator.configureWithoutConfig(environment.settings());

        Node node = new Node(environment);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        start(node);
        new CountDownLatch(1).await();
    }

    private static void start(Node node) {
        try {
            node.start();
        } catch (Throwable failure) {
            failure.printStackTrace();
            // The threads of a node that failed to start would keep the process alive.
            Runtime.getRuntime().halt(1);
        }
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception failure) {
            failure.printStackTrace();
        }
    }
}
