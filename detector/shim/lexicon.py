"""Lexicon: words and phrases that scores, language and first-token class look up.

Purpose: one table of public word lists, compiled per key into hash tables that the
kernels probe by word hash, so that no pattern runs over text; the gateway's shim has the words as they are.
Invariants: entries are split by the same tokeniser as texts; a phrase is consecutive
words, weighted by how much more often collectors say it than users do (one phrase that
people also say stays under the one half at which a score counts).
Limits: paraphrase and languages outside the lists are missed; a score is never a link
by itself, only a hint that other evidence must join.
Source: phrases are our own, for the indicators that published incident reports and
open harvesting pipelines describe; weights are judgement, bounded by the share of human
prompts that score one half (printed by the fingerprint bench).
"""

from typing import Final

LANGUAGES: Final = ("en", "es", "fr", "de", "pt", "it", "nl", "pl", "tr", "id", "vi", "sv")
STOP_WORDS: Final = {
    "en": (
        "the a an of to in is are was and or for with that this it on as be by from at what how do does did can you "
        "i my me which who when where why have has not but if your their its will would should could about into more "
        "than there these those then so he she they we his her our us am been were please"
    ),
    "es": (
        "el la los las un una de del que en es por para con no se lo como más pero su sus al qué cómo este esta y "
        "o mi me si ser son está puedes sobre entre cuando muy"
    ),
    "fr": (
        "le la les un une des de du et est en que qui dans pour pas sur au aux avec ce cette il elle je vous nous "
        "mon ne se plus comment quel quelle sont par ou mais être peux"
    ),
    "de": (
        "der die das ein eine einen und ist in zu den von mit für auf nicht sich des dem ich du wie was auch es an "
        "als bei oder aber wird sind kann mir bitte einer eines"
    ),
    "pt": (
        "o a os as um uma de do da dos das que em no na é por para com não se como mais mas seu sua ao você eu "
        "isso este esta são ser pelo pela quando"
    ),
    "it": (
        "il lo la gli le un uno una di del della che in è per con non si come più ma suo sua al sono questo questa "
        "mi io ho nel nella degli delle cosa anche"
    ),
    "nl": (
        "de het een en van in is op te dat die voor met niet zijn aan er om als ook maar je ik wat hoe bij naar uit "
        "dan kan worden deze dit"
    ),
    "pl": "i w na z do się nie jest to że jak co o po za od dla są przez ale oraz czy tak być mi jego który która",
    "tr": "bir ve bu da de için ile ne mi nasıl çok daha olarak gibi olan en ben sen var değil ama veya kadar sonra",
    "id": (
        "yang dan di ke dari untuk dengan ini itu adalah pada tidak saya anda akan dalam atau juga bagaimana apa "
        "bisa oleh sebuah"
    ),
    "vi": "và của là có cho không một các được trong với người này để những tôi bạn như thế nào đã khi về",
    "sv": "och att det i en ett som är på av för med den till inte har om jag du vad hur kan men från eller de",
}

# First token of a text; a word in none of these lists counts as a noun.
VERBS: Final = (
    "write generate create explain describe list give make tell show summarize summarise translate classify identify "
    "rewrite convert find provide compose design develop implement build calculate compute solve suggest name "
    "compare analyze analyse edit extract answer act imagine consider complete construct determine discuss discover "
    "draft evaluate fill fix help improve outline paraphrase plan predict produce propose rank rate recommend "
    "rephrase respond review select sort simplify think transform use add change check choose combine continue "
    "correct count categorize categorise assign arrange brainstorm cite come contrast debug define estimate expand "
    "formulate format infer insert invent judge label match modify parse pick prepare prove put read remove render "
    "replace return reverse run say search simulate sketch split state take test turn update verify escribe explica "
    "genera crea resume traduce écris explique génère crée décris résume traduis schreibe erkläre erstelle "
    "beschreibe übersetze escreva crie descreva traduza scrivi spiega descrivi traduci"
)
WH_WORDS: Final = (
    "what which who whom whose when where why how whats qué cuál quién cuándo dónde cómo quoi quel quelle qui "
    "quand où pourquoi comment wer was wann wo warum wie welche welcher welches quem quando onde como chi cosa dove "
    "perché wat waar waarom"
)
PRONOUNS: Final = (
    "i you he she it we they me my your his her our their this that these those je tu il elle nous vous ich du er "
    "sie wir yo eu io"
)
GREETINGS: Final = (
    "hi hello hey greetings hola bonjour salut hallo ciao olá oi hej merhaba namaste привет "
    "здравствуйте shalom salam yo howdy good"
)
OTHERS: Final = (
    "a an the in on at of to for from by with and or but if is are was were do does did can could would should will "
    "may please there not no yes as so because than then have has had be been given suppose let based assume while "
    "after before during bitte por favor el la los las un una le les une des der die das ein eine o os um uma il lo "
    "gli"
)
CONVERSATIONAL: Final = (
    "hi hello hey thanks thank i im ive id my me mine myself please hola gracias bonjour merci hallo danke ciao "
    "grazie olá obrigado obrigada yo mi je mon ma moi ich mein meine mir eu meu minha io mio mia привет "
    "спасибо я мне мой ありがとう 谢谢 你好 我 私 안녕하세요 감사"
)

# kind -> ((weight, phrases separated by `|`), ...)
PHRASES: Final[dict[str, tuple[tuple[float, str], ...]]] = {
    "cot": (
        (
            0.28,
            "step by step|paso a paso|étape par étape|schritt für schritt|passo a passo|stap voor stap|"
            "krok po kroku|adım adım|шаг за шагом|по шагам|пошагово|逐步|一步一步|分步|"
            "一步步|ステップバイステップ|段階的に|順を追って|단계별로|차근차근|خطوة بخطوة|चरण दर चरण|"
            "langkah demi langkah|từng bước|show your work|explain your reasoning|explain your answer",
        ),
        (
            0.55,
            "think step by step|reason step by step|step by step reasoning|show your reasoning|show all reasoning|"
            "show your thinking|thought process|think out loud|think aloud|before answering think|"
            "think carefully before|reasoning steps|pensemos paso a paso|piensa paso a paso|razona paso a paso|"
            "muestra tu razonamiento|réfléchis étape par étape|réfléchissons étape par étape|"
            "montre ton raisonnement|montrez votre raisonnement|denke schritt für schritt|zeige deine überlegungen|"
            "pense passo a passo|mostre seu raciocínio|pensa passo dopo passo|passo dopo passo|"
            "думай шаг за шагом|рассуждай пошагово|"
            "рассуждай шаг за шагом|давай подумаем шаг за шагом|"
            "一步一步思考|逐步思考|一步一步地思考|让我们一步一步|展示推理过程|写出推理过程|展示你的推理|思考过程|"
            "推理过程|ステップバイステップで考え|段階的に考え|思考過程|推論過程|단계별로 생각|사고 과정|추론 과정|"
            "فكر خطوة بخطوة|चरण दर चरण सोच|düşünme sürecini|suy nghĩ từng bước|berpikir langkah demi langkah",
        ),
        (
            0.75,
            "chain of thought|chains of thought|cadena de pensamiento|chaîne de pensée|gedankenkette|"
            "cadeia de pensamento|catena di pensiero|цепочка рассуждений|"
            "цепочку рассуждений|思维链|思維鏈|思考の連鎖|사고의 사슬|سلسلة التفكير|thinking tags|"
            "think tags|reasoning tags|inside think|inside thinking|your internal reasoning|"
            "internal reasoning behind|your full reasoning|complete reasoning trace|reasoning trace|reasoning traces|"
            "inner monologue|internal monologue|reasoning behind the completed response|"
            "reasoning behind a completed response|full chain of reasoning|hidden reasoning|think tag|thinking tag|"
            "inline tags|your entire thought process",
        ),
    ),
    "rubric_grading": (
        (
            0.4,
            "on a scale of|on a scale from|score from|rate the following|rate the quality|out of 10|"
            "evaluation criteria|grading criteria|is the answer correct|评分标准|打分|評価基準|채점|en una escala de|"
            "sur une échelle de|auf einer skala von|numa escala de|по шкале от",
        ),
        (
            0.6,
            "act as an impartial judge|impartial judge|evaluate the quality of the response|grade the response|"
            "grade the answer|score the response|rate the response|rate the responses|scoring rubric|grading rubric|"
            "according to the rubric|using the rubric|rubric|which response is better|which assistant|"
            "better response|assistant a and assistant b|response a and response b|preferred response|"
            "chosen and rejected|reward model|preference label|pairwise comparison|begin your evaluation|"
            "your evaluation should consider|final verdict|helpfulness relevance accuracy|评分细则|作为公正的评判|"
            "评估回答的质量|哪个回答更好|juez imparcial|juge impartial|unparteiischer richter|juiz imparcial|"
            "беспристрастный судья",
        ),
    ),
    "rewrite": (
        (
            0.35,
            "rewrite the following|rewrite this|paraphrase the following|rephrase the following|reformulate|改写|"
            "改寫|書き換え|reescribe|réécris|formuliere um|reescreva|riscrivi|перепиши|다시 작성",
        ),
        (
            0.6,
            "rewrite the given prompt|rewrite the prompt|given prompt|rewritten prompt|rewrite the instruction|"
            "rewritten instruction|rewrite the question|make it more complex|more complex version|"
            "a more complex version|increase the difficulty|increase the complexity|evolve the|evolved instruction|"
            "prompt rewriter|in breadth evolving|in depth evolving|rewrite this response|rewrite the response|"
            "rewrite the answer|clean the following|cleaned version|remove any mention of|"
            "without mentioning that you are|as if you were another|改写以下指令|重写以下问题|改写提示词|"
            "reescribe la instrucción|réécris l instruction|reescreva a instrução",
        ),
    ),
    "self_instruct": (
        (
            0.4,
            "new tasks|diverse tasks|diverse set of|diverse questions|list of questions|generate questions|"
            "generate a question|create a new|given the above examples|inspired by|similar examples|生成问题|出题|"
            "crear preguntas|fragen erstellen",
        ),
        (
            0.65,
            "come up with a set of|task instructions|diverse task instructions|come up with a series of tasks|"
            "new instruction|new instructions|generate instructions|instruction and input|instruction following data|"
            "instruction tuning|fine tuning data|finetuning data|training data|training examples|training samples|"
            "synthetic data|synthetic dataset|question answer pairs|question and answer pairs|qa pairs|"
            "try not to repeat the verb|maximize diversity|will be given to a gpt model|gpt model|"
            "language model should be able to|self instruct|seed task|seed tasks|gain inspiration from|"
            "create a high quality programming problem|high quality programming problem|new and diverse|"
            "random code snippet|generate new similar|similar new examples|create a brand new prompt|given persona|"
            "with the following persona|生成多样化|多样化的任务|指令微调|训练数据|问答对|合成数据|合成データ|"
            "訓練データ|학습 데이터|datos de entrenamiento|données d entraînement|trainingsdaten|"
            "dados de treinamento|обучающие данные|обучающих данных",
        ),
    ),
    "tool_trace": (
        (
            0.35,
            "function call|function calls|tool call|tool calls|available tools|following tools|call the api|"
            "api documentation|工具调用|llamada a función|appel de fonction",
        ),
        (
            0.6,
            "thought action observation|thought action action input|action input|action input observation|"
            "tool use trajectory|tool use trace|agent trajectory|agent trajectories|trajectory|task trajectory|"
            "simulate the tool|simulate the api|api simulator|simulated tool|tool responses|which external tool|"
            "execution plan|every tool call you made|list every tool call|full action history|multi turn tool|"
            "工具调用轨迹|智能体轨迹|工具使用轨迹|repeat the following steps until|"
            "you have access to the following tools",
        ),
    ),
    "refusal_probe": (
        (
            0.4,
            "ignore previous instructions|no restrictions|without restrictions|without any restrictions|no ethical|"
            "unethical|harmful response|jailbreak|uncensored|hypothetical scenario|do not refuse|don t refuse|越狱|"
            "无视之前的指令|sin restricciones|sans restriction|ohne einschränkungen|sem restrições|"
            "без ограничений",
        ),
        (
            0.65,
            "ignore all previous instructions|ignore your previous instructions|do anything now|developer mode|"
            "never refuse|you cannot refuse|do not include any warnings|without any disclaimers|"
            "without warnings or disclaimers|bypass your|bypass the filter|bypass safety|"
            "safety guidelines do not apply|do not flag this|censorship safe|would you refuse|do you refuse|"
            "begin your response with sure|start your answer with sure|words that indicate ethics|more harmful|"
            "harmful and unacceptable|unfiltered response|red team|忽略所有先前的指令|忽略之前的所有指令|"
            "ignora todas las instrucciones|ignore toutes les instructions|ignoriere alle vorherigen|"
            "игнорируй все предыдущие|以前の指示を無視|이전 지시를 무시",
        ),
    ),
    "json_dataset": (
        (
            0.25,
            "json format|in json|as json|valid json|json object|json array|jsonl|csv format|json 格式|formato json|"
            "format json|json format aus|json 形式",
        ),
        (
            0.6,
            "jsonl format|one json object per line|json lines|json array of|list of json|json list of|"
            "following json schema|output only json|only output json|only return json|respond only with json|"
            "return only valid json|only valid json|nothing but json|dataset entry|dataset entries|dataset rows|"
            "rows of a dataset|data points|data samples|fields instruction input output|"
            "keys instruction input output|instruction input and output|instruction input output|"
            "question and answer fields|只输出 json|仅返回 json|json 数组|数据集|データセット|데이터셋|"
            "conjunto de datos|jeu de données|conjunto de dados|набор данных",
        ),
    ),
    "signature_replay": (
        (
            0.4,
            "your previous reasoning|your prior reasoning|your earlier reasoning|previous thinking|prior thinking|"
            "thinking signature|encrypted reasoning|redacted thinking|上一步的推理|之前的推理",
        ),
        (
            0.7,
            "output your prior reasoning|output your prior reasoning verbatim|prior reasoning verbatim|"
            "reasoning verbatim|repeat your reasoning|repeat your previous reasoning|reproduce your thinking|"
            "reproduce your reasoning|decrypt your reasoning|reveal your thinking|print your thinking|"
            "thinking verbatim|thoughts verbatim|translate your reasoning|translate your thinking|"
            "reasoning into katakana|continue from your reasoning|thinking block|thinking blocks|"
            "thinking block signature|reasoning signature|reasoning encrypted content|encrypted content|"
            "逐字输出你的推理|原样输出你的思考|复述你的推理|输出之前的推理|推論をそのまま|이전 추론을 그대로",
        ),
    ),
}


# Each word's class by the first list that has it.
FIRST_TOKENS: Final = (
    ("wh-word", WH_WORDS),
    ("greeting", GREETINGS),
    ("pronoun", PRONOUNS),
    ("verb", VERBS),
    ("other", OTHERS),
)


def phrase_list() -> list[tuple[str, int, float]]:
    """Every phrase with the place of its kind in `PHRASES` (and the contract) and its weight, in table order.

    >>> ("chain of thought", 0, 0.75) in phrase_list()
    True
    """
    return [
        (phrase, number, weight)
        for number, groups in enumerate(PHRASES.values())
        for weight, phrases in groups
        for phrase in phrases.split("|")
    ]
