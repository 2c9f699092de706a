import java.lang.reflect.Field;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import software.amazon.dynamodb.services.local.main.ServerRunner;
import software.amazon.dynamodb.services.local.server.DynamoDBProxyServer;

/**
 * Starts DynamoDB Local on loopback: HOST, then the options of its own command line. Its own main
 * class listens on every interface of the machine and has no option against that.
 */
public final class Launcher {
    public static void main(String[] arguments) throws Exception {
        String[] options = java.util.Arrays.copyOfRange(arguments, 1, arguments.length);
        DynamoDBProxyServer local = ServerRunner.createServerFromCommandLineArgs(options);
        Field field = DynamoDBProxyServer.class.getDeclaredField("server");
        field.setAccessible(true);
        for (Connector connector : ((Server) field.get(local)).getConnectors()) {
            ((ServerConnector) connector).setHost(arguments[0]);
        }
        local.start();
        local.join();
    }
}
