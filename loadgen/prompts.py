"""The prompts that the load generator sends: questions as people ask them, and passages with a task set about them."""

QUESTIONS = (
    "Why is the sky blue during the day and red at sunset?",
    "Explain in simple words what a database index does.",
    "Give me three tips for sleeping better.",
    "What is the difference between weather and climate?",
    "Write a short, friendly email that asks a colleague to move our meeting from Tuesday to Thursday.",
    "How do vaccines train the immune system?",
    "Name the planets of the solar system, starting with the one nearest to the Sun.",
    "What should I check before I buy a used bicycle?",
    "Describe the water cycle to a ten-year-old.",
    "What makes bread rise?",
    "Suggest a name for a small bakery by the sea, and say why it fits.",
    "How does a refrigerator keep food cold?",
    "I have eggs, spinach, and cheese. What can I cook in fifteen minutes?",
    "What is compound interest? Give a small example with numbers.",
    "Why do cats purr?",
    "Explain the difference between a virus and a bacterium.",
    "How can I remember people's names better?",
    "What causes the tides?",
    "Write two sentences that describe a quiet forest in winter.",
    "What does a lighthouse keeper do?",
    "How do I politely decline an invitation?",
    "What are the benefits of reading every day?",
    "Explain how a bicycle stays upright while it is moving.",
    "Why do leaves change colour in autumn?",
    "What is a good way to start learning to play the guitar?",
    "How do noise-cancelling headphones work?",
    "Tell me about the history of the printing press in a few sentences.",
    "What is the purpose of a budget, and how do I make one?",
)

TASKS = (
    "Summarize the following text in two sentences.",
    "What is the main point of the following text?",
    "List three facts from the following text.",
)

PASSAGES = (
    """The lighthouse on the northern cape was built after a winter in which eleven ships were lost within sight of
the harbour. The first tower was made of timber and burned a coal fire in an iron basket; it used a ton of coal on a long
night, and the keepers carried all of it up ninety steps. Sailors complained that in heavy rain, when they needed it most,
the fire sank to a dull glow. A stone tower replaced it twenty years later. Its lamp burned oil behind a ring of glass
prisms that bent the light into a narrow beam, so that a flame no larger than a hand could be seen from thirty kilometres
away. The lens weighed two tons and floated in a bath of mercury, and a clockwork with a falling weight turned it; one of
the keepers had to wind the weight up again every three hours. When electricity came to the cape, the clockwork was left
in place beside the motor, in case the current failed, and twice it was needed. The last keeper left when the light was
made automatic. He said that he did not miss the work, which was mostly cleaning, but that he still woke every three
hours at night. Today ships find their way by satellite, and the light is kept on chiefly for fishing boats and out of
affection. The tower is open to visitors in summer, and the climb to the lamp is still ninety steps.""",
    """A bakery that sells two hundred loaves a day must decide each evening how many to bake for the next morning.
If it bakes too few, the shelf is empty by noon and customers go elsewhere, perhaps for good. If it bakes too many, bread
is left over and must be sold at half price or given away. For years the owner decided by feeling, and her feeling was
good, but when she opened a second shop on the other side of the town it failed her: the customers there came later in
the day and cared more about the weather. So she began to keep a notebook. Each day she wrote down how many loaves of each
kind were sold, at what hour the last one went, whether it rained, and whether there was a market or a holiday. After
three months she could see that rain cost the first shop a tenth of its sales and the second shop almost a third. She
also saw that days on which a kind sold out were worth less as evidence than she had thought, because nobody knew how many
more could have been sold. From then on she guessed the missing sales from the hour at which the shelf had become empty.
The leftovers fell by half within a year. She says that the notebook does not decide anything. It only reminds her
of what happened the last time she felt as sure as she does today.""",
    """Rivers are often drawn on maps as if they were fixed, but a river that crosses a flat plain moves all the time.
Where the channel bends, the water on the outside of the bend runs faster and cuts into the bank, while on the inside it
runs slowly and drops the sand that it carries. So every bend grows, and the whole river swings from side to side like a
rope that is shaken very slowly. When two bends come close enough to touch, the river breaks through the neck of land
between them in a single flood and leaves the old loop behind as a curved lake. People who live beside such rivers have
long known this. Villages were built on the old banks above the plain, and the fields below were shared out again after
each great flood, because the boundaries had moved. In the nineteenth century engineers began to straighten rivers, to make
them safer for ships and to win land for farming. The shorter course was steeper, and the water ran faster and dug itself
deeper; wells beside the river fell dry, and the floods that had once spread over the meadows arrived all at once in
the towns downstream. Today some of these rivers are being given back part of their room. Dikes are moved away from the
bank, old loops are joined to the channel again, and meadows are allowed to flood. It costs less than one might expect,
and the first to return are usually the birds.""",
    """When the city library moved to its new building, the staff had to carry four hundred thousand books across the
river without losing their order. They had one month, in which the library would be closed. A first plan was to pack the
books into numbered boxes, but a trial with one thousand books showed that packing and unpacking took longer than the
journey, and that boxes were put down in the wrong place. A young librarian suggested that the books should never leave
a shelf at all. The carpenters built six hundred narrow shelves on wheels, each as wide as one section of the old stacks. A
section was pushed from the old shelf to the one on wheels, tied with a strap, rolled to the truck, and on the other side
rolled to its place and pushed in again, all in the same order. Each shelf on wheels carried a card with the number of the
place it came from and the number of the place it was going to. In the second week it rained every day, and the shelves
were wrapped in sheets that the theatre had lent. The move was finished after twenty-two days. Eleven books were found to
be missing, of which nine had been missing before. The shelves on wheels were sold to schools, except for one, which
still stands in the entrance hall and holds the newspapers.""",
    """Honeybees keep the middle of their nest at about thirty-five degrees in every season, which is remarkable for
insects that cannot keep themselves warm alone. In winter they gather into a ball around the queen. The bees on the
outside sit close together with their heads inward and form a coat, while those in the middle tremble with the muscles
that they use for flying, but without moving their wings, and so make heat from honey. Every bee takes its turn on the
outside, and when it becomes too cold it works its way in again. A strong colony burns about fifteen kilograms of honey
before spring. In summer the task is the opposite one. On hot days some of the workers stop collecting nectar and
bring water, which they spread in thin films over the comb, and others stand in rows at the entrance and fan air across it
until it dries, which cools the nest just as sweat cools the skin. If even that is not enough, thousands of bees leave and
hang in a cluster below the entrance, so that fewer bodies make heat inside. No bee gives orders in any of this. Each one
answers only to the warmth that it feels itself, but they do not all feel it alike: some begin to fan at a slightly lower
temperature than others. Because of these differences the colony's answer grows smoothly, instead of all bees beginning
and stopping at once.""",
    """For most of history, people who wanted to know the time at sea could not, and so they could not know how far
east or west they were. A ship's latitude can be read from the height of the sun at noon, but its longitude is the
difference between local time and the time at home, and no clock of the seventeenth century could keep time on a
rolling deck. Pendulums swung wildly, oil thickened in the cold, and metal parts grew and shrank with the weather. An error of
four minutes meant an error of one degree, which near the equator is more than a hundred kilometres. After a fleet ran onto
rocks because its officers had mistaken their position, a great prize was offered to anyone who could solve the problem. Most
learned men expected the answer to come from the sky, from tables of the moon's path among the stars. A carpenter who had
taught himself to make clocks thought otherwise. He spent forty years on five machines. The first three were large and
beautiful and weighed as much as a man, with balances that worked against each other so that the ship's motion cancelled
out. Then he saw that a small, fast balance was disturbed less than a large, slow one, and the fourth machine looked like a
big pocket watch. On its trial voyage across the ocean it lost five seconds in eighty-one days. It took him many more years
to be paid.""",
)
