// Java at a gate: daypass run --file -- java WithJava.java https://kubeflow.example.com/pipeline
//
// The property javax.net.ssl.trustStore names the gate's certificate authority, if it is not a public one.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;

public class WithJava {
    static final Path TOKEN_FILE = Path.of(System.getenv("DAYPASS_ACCESS_TOKEN_FILE"));

    public static void main(String[] urls) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String url : urls) {
            HttpRequest request =
                    HttpRequest.newBuilder(URI.create(url))
                            .header("Authorization", "Bearer " + Files.readString(TOKEN_FILE))
                            .build();
            var answer = client.send(request, BodyHandlers.ofString());
            // Of a refusal, too: it says why.
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
