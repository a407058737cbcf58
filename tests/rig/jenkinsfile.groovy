// Prints the shell lines of a Jenkinsfile by stage, as JSON; null stands for a line that Groovy would interpolate.
import groovy.json.JsonOutput
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.Phases

class Lines extends CodeVisitorSupport {
    String stage = ''
    Map<String, List<String>> found = [:]

    void visitMethodCallExpression(MethodCallExpression call) {
        def before = stage
        def given = call.arguments.expressions[0]
        if (call.methodAsString == 'stage') { stage = given.value }
        if (call.methodAsString == 'sh') {
            found.get(stage, []) << (given instanceof ConstantExpression ? given.value : null)
        }
        super.visitMethodCallExpression(call)
        stage = before
    }
}

def unit = new CompilationUnit()
unit.addSource(new File(args[0]))
unit.compile(Phases.CONVERSION)
def lines = new Lines()
unit.AST.modules[0].statementBlock.visit(lines)
println JsonOutput.toJson(lines.found)
